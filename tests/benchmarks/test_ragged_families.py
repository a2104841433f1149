"""Packed, padded and by-count networks give the same embeddings; what differs gets no time."""

import sys
from dataclasses import replace

import dense_families
import kept_rows
import numpy as np
import pytest
import ragged_families
import torch
from ragged_families import FAMILIES, FIELDS, MIXES, WAYS, measure, relative, untrained, ways

COUNTS = [2, 1, 3, 1]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Smaller networks of the same kind."""
    for name, family in FAMILIES.items():
        monkeypatch.setitem(FAMILIES, name, replace(family, side=32, patch=8, dim=48, heads=3))


def embeddings(name, counts=COUNTS):
    family = FAMILIES[name]
    encoder = untrained(family, 2, "cpu")
    with torch.no_grad():  # as drawn, norms and scales are 1, and biases 0
        draw = torch.Generator().manual_seed(1)
        for parameter in encoder.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) / 10)
    network = family.dense(encoder.model.state_dict(), depth=2, heads=3, patch=8, side=32)
    planes = torch.randn(sum(counts), 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        runs = ways(encoder, network, planes, counts)
        return {way: run() for way, run in runs.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_all_ways_give_the_same_embeddings(name):
    """Also where each parameter decides the numbers, in another order of additions."""
    found = embeddings(name)
    for way in WAYS:
        torch.testing.assert_close(found[way], found["packed"], rtol=1e-5, atol=1e-5)
    assert float((found["packed"][1] - found["packed"][3]).abs().max()) > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_says_what_was_timed(name):
    row = measure(name, "some", COUNTS, device="cpu", depth=1, rounds=2)
    assert set(FIELDS) <= set(row)
    assert (row["images"], row["planes"], row["depth"]) == (4, 7, 1)
    assert (row["tokens"], row["padded_tokens"]) == (4 + 7 * 16, 4 * (1 + 3 * 16))
    assert all(row[f"{way}_s"] > 0 for way in WAYS)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_without_its_mask_gets_no_time(name, monkeypatch):
    attend = dense_families.attend
    monkeypatch.setattr(dense_families, "attend", lambda q, k, v, mask: attend(q, k, v, None))
    with pytest.raises(SystemExit, match=r"some, padded: differs by .* from packed"):
        measure(name, "some", COUNTS, device="cpu", depth=1, rounds=1)


def test_the_distance_is_that_of_the_worst_image():
    wanted = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert relative(wanted + torch.tensor([[0.0, 0.0], [0.5, 0.0]]), wanted) == 0.5


def test_rows_of_a_run_take_the_place_of_older_ones(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.csv"
    threads = torch.get_num_threads()
    monkeypatch.setattr(ragged_families, "MIXES", ("3 channels",))
    arguments = ["ragged_families.py", "--depth", "1", "--rounds", "1", "--images", "2"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--threads", str(threads), "--out", str(path)])
    ragged_families.main()
    ragged_families.main()
    rows = kept_rows.read(path)
    assert [row["network"] for row in rows] == list(FAMILIES)
    assert tuple(rows[0]) == FIELDS
    assert "padded" in capsys.readouterr().out


def test_committed_rows_are_of_all_cases():
    rows = kept_rows.read(ragged_families.KEPT)
    cases = {(row["network"], row["mix"]) for row in rows if row["device"].endswith("cores")}
    assert cases == {(name, mix) for name in FAMILIES for mix in MIXES}
    for row in rows:
        assert float(row["difference"]) < 1e-4
        saved = int(row["padded_tokens"]) / int(row["tokens"])
        assert saved == pytest.approx(1, abs=0.01) if row["mix"] == "5 channels" else saved > 1.5
        assert np.isfinite([float(row[f"{way}_s"]) for way in WAYS]).all()
