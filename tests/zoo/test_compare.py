"""Two encoders on the same items."""

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo import errors


def plate(rows=8, doses=4, each=2):
    return pd.DataFrame(
        {
            "row": np.repeat(list("ABCDEFGH")[:rows], doses * each),
            "dose": np.tile(np.repeat(np.arange(doses), each), rows),
        }
    )


def profiles(name, noise, seed=0, metadata=None):
    metadata = plate() if metadata is None else metadata
    rng = np.random.default_rng(seed)
    seen = metadata["dose"].to_numpy()[:, None] + noise * rng.normal(size=(len(metadata), 3))
    return zoo.Embeddings(seen.astype("f4"), metadata, {"encoder": name})


def dataset(metadata=None):
    metadata = plate() if metadata is None else metadata
    spec = zoo.plugin.DatasetSpec(
        name="plate",
        builder="m:f",
        summary="s",
        design=zoo.Design(
            label="dose",
            group="row",
            tasks=(zoo.Task(kind="dose", target="dose", title="dose"),),
        ),
    )
    none = zoo.plugin.Precomputed("none", lambda: np.zeros((len(metadata), 1), "f4"))
    return zoo.Dataset("plate", metadata, None, spec, {"none": none})


@pytest.mark.slow
def test_the_better_of_two_is_ahead_whichever_comes_first():
    good, poor = profiles("good", 0.1), profiles("poor", 4.0, seed=1)
    forward = zoo.compare(good, poor, dataset(), control_seeds=1)
    backward = zoo.compare(poor, good, dataset(), control_seeds=1)
    assert [g.winner for g in forward.gaps] == ["first", "first"]
    assert [g.winner for g in backward.gaps] == ["second", "second"]
    for one, other in zip(forward.gaps, backward.gaps, strict=True):
        assert (one.gap, one.low, one.high) == pytest.approx((-other.gap, -other.high, -other.low))
    assert "good is ahead of poor in 2 of 2 scores" in forward.headline
    assert "good beats all its controls in 2" in forward.headline


@pytest.mark.long
def test_equals_are_not_told_apart_and_the_gap_is_the_difference_of_scores():
    # Same quality, other noise: over 20 pairs a 95 % interval excludes 0 in few of them.
    told = 0
    for seed in range(20):
        pair = profiles("a", 1.0, seed=2 * seed), profiles("b", 1.0, seed=2 * seed + 1)
        found = zoo.compare(
            *pair, dataset(), control_seeds=1, controls=["gaussian"], permutations=19
        )
        gap = found.gaps[0]
        told += gap.winner != "neither"
    assert told <= 4  # P(X > 4) = 0.003 for 20 tries at 5 %
    found = zoo.compare(profiles("a", 0.5), profiles("b", 2.0, seed=3), dataset(), control_seeds=1)
    line = found.table.iloc[0]
    assert line["gap"] == pytest.approx(line["score_first"] - line["score_second"])
    assert "first minus second" in str(found)
    assert found.headline in str(found)


@pytest.mark.slow
def test_few_groups_get_no_verdict_and_one_name_is_refused():
    small = plate(rows=4)
    pair = [profiles(n, 1.0, metadata=small) for n in "ab"]
    assert {g.winner for g in zoo.compare(*pair, dataset(small), control_seeds=1).gaps} == {
        "no verdict"
    }
    with pytest.raises(errors.EvaluationError, match="both are called a"):
        zoo.compare(profiles("a", 1.0), profiles("a", 2.0), dataset(), control_seeds=1)
