"""Candidates are sane, the best is the best of those that pass, and nothing stays changed."""

from dataclasses import asdict

import pytest

pytest.importorskip("triton")

import torch
import tune_ragged_attention as tune
from attention_cases import HEADS
from zoo.kernels._ragged_attention_op import TILES, Tiles

PAIRS = [(kernel, size) for kernel in tune.KERNELS for size in HEADS]


@pytest.mark.parametrize(("kernel", "size"), PAIRS)
def test_candidates(kernel, size):
    found = tune.shapes(kernel, size)
    assert found[0] == TILES[kernel, "half"][size]
    assert 3 <= len(found) == len(set(found)) <= 12
    assert all(128 % tiles.own == 0 for tiles in found)
    finer = tune.refinements(kernel, found[0])
    assert found[0] not in finer
    assert {t.stages for t in (found[0], *finer)} == {1, 2, 3, 4}
    assert ({t.emulated for t in finer} == {0, 1, 2, 3}) == (kernel == "forward")


def row(tiles, workload, median=None, problem=None, kernel="forward", size=16):
    found = {"kernel": kernel, "head_size": size, "workload": workload, **asdict(tiles)}
    return found | ({"problem": problem} if problem else {"median_s": median})


def test_the_best_passes_on_every_batch():
    steady, uneven, broken = Tiles(128, 64, 4, 2), Tiles(64, 64, 4, 2), Tiles(128, 128, 8, 3)
    rows = [
        *(row(steady, "a", 2.0), row(steady, "b", 2.0)),
        *(row(uneven, "a", 1.0), row(uneven, "b", 9.0)),
        *(row(broken, "a", 0.1), row(broken, "b", problem="out of shared memory")),
    ]
    tiles, mean = tune.best(rows)
    assert tiles == steady
    assert mean == pytest.approx(2.0)
    assert tune.best([row(broken, "a", problem="no")]) is None


def test_the_summary_says_what_fails_and_what_is_gained():
    shipped = TILES["forward", "half"][16]
    faster, broken = Tiles(64, 64, 4, 3), Tiles(128, 128, 8, 4)
    rows = [row(shipped, "a", 3.0), row(faster, "a", 2.0), row(broken, "a", problem="no room")]
    failed, gained = tune.summary(rows)
    assert failed == "forward 16 on a, [128, 128, 8, 4, 0]: no room"
    assert str(faster) in gained
    assert "1.50 × as fast" in gained


def test_a_candidate_is_in_use_only_while_tried():
    shipped, other = TILES["forward", "half"][16], Tiles(64, 32, 4, 1)
    with tune.in_use("forward", 16, other):
        assert TILES["forward", "half"][16] == other
    assert TILES["forward", "half"][16] == shipped


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with a GPU tunes instead")
def test_without_a_gpu_nothing_is_tuned(monkeypatch):
    monkeypatch.setattr("sys.argv", ["tune_ragged_attention.py"])
    with pytest.raises(SystemExit, match="this machine has none"):
        tune.main()


def test_what_does_not_launch_is_listed_with_the_reason():
    found = tune.measured("forward", 16, Tiles(128, 64, 4, 2), "1 channel", "cpu", 1)
    assert found["problem"].startswith("ValueError: backend 'triton' cannot be taken")
    assert "median_s" not in found
