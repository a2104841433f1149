"""The simulation of verdicts, on a small scale."""

import numpy as np
import pytest
import verdicts_of_equal_encoders as benchmark
from verdicts_of_equal_encoders import World


def test_worlds_are_what_they_say():
    rng = np.random.default_rng(0)
    table, found = benchmark.draw(World("knn", 40, items=12), rng)
    assert list(found) == ["encoder", "equal-0", "weaker-0"]
    assert (table.groupby(["group", "label"]).size() == 3).all()
    table, found = benchmark.draw(World("knn", 9, items=18, sizes="unequal"), rng)
    sizes = table.groupby("group").size()
    assert sizes.max() / sizes.min() == pytest.approx(9, rel=0.1)
    assert sizes.mean() == pytest.approx(18, rel=0.1)
    world = World("retrieval", 200, correlation=0.5, equal=2, weaker=0)
    table, found = benchmark.draw(world, rng)
    errors = [rows[:, 8:].ravel() for rows in found.values()]  # dimensions without a signal
    assert np.corrcoef(errors)[0, 1] == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef(errors)[1, 2] == pytest.approx(0.5, abs=0.05)


def test_an_encoder_that_is_much_better_beats_the_others():
    found = [benchmark.judged(World("probe", 16, gain=3.0), seed) for seed in range(3)]
    assert [one.outcome for (one,) in found] == ["beats all controls"] * 3


@pytest.mark.long
@pytest.mark.parametrize("world", [World("retrieval", 16), World("knn", 8)])
def test_equally_good_encoders_are_rarely_told_apart(world):
    runs = 60
    (row,) = benchmark.measure(world, runs)
    # Nominal 5 % and 2.5 %, with three binomial standard errors. With queries drawn from a fixed
    # gallery the intervals of retrieval excluded zero in a third of such worlds.
    assert row["apart"] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert row["beats"] <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / runs)
    assert row["worse"] <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / runs)
    # The standard deviation of 60 runs is known to a tenth.
    assert 0.95 * 0.8 <= row["width"] <= 1.5 * 1.2


def test_rows_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "equal_worlds", lambda kind: [World(kind, 6)])
    arguments = ["x", "--runs", "2", "--only", "retrieval", "--jobs", "1", "--results"]
    monkeypatch.setattr("sys.argv", [*arguments, str(tmp_path)])
    benchmark.main()
    benchmark.main()
    (row,) = benchmark.kept_rows.read(tmp_path / "verdicts-of-equal-encoders.csv")
    assert (row["metric"], row["groups"], row["runs"]) == ("mAP across groups", "6", "2")
    assert "apart" in capsys.readouterr().out
