"""Jackknife, margins and the correction for several scores, against plain loops and definitions."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

import zoo
from zoo._evaluation.intervals import (
    INFLATION_OF_RETRIEVAL,
    Estimate,
    counted_twice,
    estimate,
    inflation,
    jackknifed,
)
from zoo._evaluation.margins import margin_of, margins_with
from zoo._evaluation.retrieval import BLOCKS, precision_without, retrieve
from zoo._evaluation.scorecard import Scorecard


@pytest.mark.parametrize("seed", range(5))
def test_precision_without_a_block_is_that_of_the_ranking_without_it(seed):
    rng = np.random.default_rng(seed)
    relevant, block = rng.random(40) < 0.3, rng.integers(5, size=40)
    found = precision_without(relevant, block, 6)  # the last has no items
    for k in range(6):
        left = block != k
        places = -np.arange(left.sum())
        assert found[k] == pytest.approx(average_precision_score(relevant[left], places))


def test_precision_is_undefined_without_positives_or_negatives():
    relevant, block = np.array([True, False, True]), np.array([0, 1, 0])
    found = precision_without(relevant, block, 2)
    assert np.isnan(found).all()


def test_a_group_leaves_queries_and_gallery():
    """As scoring the rows of all other groups anew, but for the scaling of columns."""
    rng = np.random.default_rng(0)
    groups, codes = np.repeat(np.arange(6), 4), np.tile(np.arange(2), 12)
    rows = rng.normal(size=(24, 3)) + codes[:, None]
    # Each group has the same mean and spread, so that scaling is the same without any of them.
    for g in range(6):
        own = rows[groups == g]
        rows[groups == g] = (own - own.mean(0)) / own.std(0)
    found = retrieve(rows, codes[:, None], groups, 0)
    scores, sizes = found.scores_without(np.arange(24))
    assert sizes.tolist() == [4.0] * 6
    for g in range(6):
        left = groups != g
        again = retrieve(rows[left], codes[left, None], groups[left], 0).precision[:, 0]
        assert scores[left[::4], g] == pytest.approx(again.reshape(5, 4).mean(1))
        assert scores[g, g] == pytest.approx(found.precision[groups == g, 0].mean())


def test_many_groups_are_left_out_several_at_a_time():
    n = 3 * BLOCKS
    found = retrieve(np.random.default_rng(0).normal(size=(n, 2)), np.arange(n)[:, None] % 2,
                     np.arange(n), 0)  # fmt: skip
    scores, sizes = found.scores_without(np.arange(n))
    assert scores.shape == (BLOCKS, BLOCKS)
    assert set(sizes) == {3.0}


def test_the_jackknife_of_a_mean_is_its_textbook_error():
    values = np.random.default_rng(0).normal(size=9)
    left = np.array([np.delete(values, k).mean() for k in range(9)])
    deviations = jackknifed(values.mean(), left, np.ones(9))
    assert (deviations**2).sum() == pytest.approx(values.var(ddof=1) / 9)
    # What is undefined without a group adds nothing.
    left[3] = np.nan
    assert jackknifed(values.mean(), left, np.ones(9))[3] == 0


def pairs_world(rng, units, pairs, sizes):
    """A mean over ordered pairs of groups, weighted by sizes, as `scores_without` gives it.

    What a unit or a pair adds is a mean over its items, so that its variance falls with their
    number.
    """
    count = len(sizes)
    u = units * rng.normal(size=count) / np.sqrt(sizes)
    g = pairs * rng.normal(size=(count, count)) / np.sqrt(np.outer(sizes, sizes))
    kernel = u[:, None] + u[None] + g
    ranked = np.where(np.eye(count), 0.0, sizes[None])
    total = (kernel * ranked).sum(1, keepdims=True) - np.where(np.eye(count), 0.0, kernel * ranked)
    between = total / (ranked.sum(1, keepdims=True) - ranked)
    return between, float(np.average(np.diag(between), weights=sizes))


@pytest.mark.parametrize("sizes", [[1] * 8, [1, 1, 2, 3, 4, 4, 3, 2]], ids=["equal", "unequal"])
@pytest.mark.parametrize(("units", "pairs"), [(1, 0), (0, 1), (0.3, 1)])
def test_the_error_of_a_mean_over_pairs_of_groups(units, pairs, sizes):
    """Right within its own error, and the jackknife alone too wide where pairs add much."""
    rng, sizes = np.random.default_rng(0), np.array(sizes, float)
    values, variances, alone = [], [], []
    for _ in range(1000):
        between, value = pairs_world(rng, units, pairs, sizes)
        score = SimpleNamespace(
            kind="retrieval", at=lambda _, v=value: v, without=lambda _, b=between: (b, sizes)
        )
        found = estimate([score], np.arange(len(sizes)), [])
        values.append(value)
        variances.append(found.error**2)
        alone.append((found.deviations**2).sum())
    raised = INFLATION_OF_RETRIEVAL * np.std(values)
    assert 0.93 < np.sqrt(np.mean(variances)) / raised < 1.15
    if units == 0:
        assert np.sqrt(np.mean(alone)) / raised > 1.25


def test_the_error_of_retrieval_is_raised():
    """Both what the jackknife finds and what it counts twice, so that the error is."""
    between, value = pairs_world(np.random.default_rng(0), 1, 1, np.ones(8))
    score = SimpleNamespace(
        kind="retrieval", at=lambda _: value, without=lambda _: (between, np.ones(8))
    )
    found = estimate([score], np.arange(8), [])
    left = np.array([np.delete(between[:, j], j).mean() for j in range(8)])
    assert found.deviations == pytest.approx(1.05 * jackknifed(value, left, np.ones(8)))
    assert found.doubled == pytest.approx(1.05 * counted_twice(between, np.ones(8)))


def test_pairs_of_encoders_are_compared_pair_by_pair():
    """What two encoders have in common leaves no error; nor does a pair that is undefined."""
    sizes = np.full(6, 2.0)
    rng = np.random.default_rng(0)
    one, other = (rng.random((6, 6)) for _ in range(2))
    difference = counted_twice(one, sizes) - counted_twice(other, sizes)
    assert counted_twice(one - other, sizes) == pytest.approx(difference)
    assert counted_twice(np.full((6, 6), 0.5), sizes) == pytest.approx(0)
    one[2, 4] = np.nan
    found = counted_twice(one, sizes)
    assert np.isfinite(found).all()
    assert (
        found[np.flatnonzero((np.triu_indices(6, 1)[0] == 2) & (np.triu_indices(6, 1)[1] == 4))]
        == 0
    )
    assert len(counted_twice(one[:3, :3], sizes[:3])) == 0


def test_the_variance_keeps_at_least_what_pairs_alone_leave():
    found = Estimate(0.5, np.array([0.3, 0.4]), 5, doubled=np.array([0.5]))
    assert found.error == pytest.approx(0.5 * np.sqrt(4 / 10))
    assert Estimate(0.5, np.array([0.3, 0.4]), 5, doubled=np.array([0.3])).error == pytest.approx(
        0.4
    )


def test_margins_are_replaced_by_metric():
    found = margins_with({"mAP": 0.02, "mine": 0.5}, ("mine",))
    assert margin_of("mAP across groups", found) == 0.02
    assert margin_of("3-NN balanced accuracy", found) == 0.1
    assert margin_of("mine", found) == 0.5
    assert np.isnan(margin_of("other", found))
    with pytest.raises(ValueError, match=r"margins has 'mAp', but the metrics are .*'mAP'"):
        margins_with({"mAp": 0.1})
    with pytest.raises(ValueError, match="the margin of mAP is -1, but must be a positive"):
        margins_with({"mAP": -1})


def test_a_wide_margin_makes_undecided_no_better():
    table = pd.DataFrame({"dose": np.tile(np.arange(4), 16), "plate": np.repeat(np.arange(8), 8)})
    rng = np.random.default_rng(0)
    mine, control = (table["dose"].to_numpy()[:, None] + rng.normal(size=(64, 3)) for _ in range(2))
    task = zoo.Task(kind="dose", target="dose", title="dose")
    design = zoo.Design(label="dose", group="plate", tasks=(task,))
    given = {"c": zoo.plugin.Precomputed("c", lambda: control, "control", "statistics")}
    data = zoo.Dataset("d", table, None, None, given, design)
    embeddings = zoo.Embeddings(mine, table, {"encoder": "mine"})

    def outcome(margin):
        asked = {"controls": ["precomputed:c"], "permutations": 19, "margins": {"R²": margin}}
        return zoo.evaluate(embeddings, data, **asked).rows[1].verdict.outcome

    assert outcome(1e-6) == "undecided"
    assert outcome(5.0) == "no better than"
    with pytest.raises(ValueError, match="permutations is 3, but must be at least 19"):
        zoo.evaluate(embeddings, data, permutations=3)


def jointly(*p_values, others=0):
    verdicts = [SimpleNamespace(outcome="beats all controls", p_value=p) for p in p_values]
    verdicts += [SimpleNamespace(outcome="at chance", p_value=0.5)] * others
    card = SimpleNamespace(rows=[SimpleNamespace(verdict=v) for v in verdicts])
    return [row.verdict.p_value for row in Scorecard.beaten_jointly.fget(card)]


def test_holm_keeps_the_smallest_until_one_is_too_large():
    assert jointly(0.02) == [0.02]
    assert jointly(0.02, others=1) == []
    assert jointly(0.02, 0.001) == [0.001, 0.02]
    # 0.025 / 3 = 0.0083 is passed, 0.025 / 2 = 0.0125 is not, and then 0.0249 is not asked.
    assert jointly(0.0249, 0.013, 0.008) == [0.008]


def test_a_difference_of_unlike_resamples_has_no_error():
    one, other = Estimate(0.5, np.ones(4), 3), Estimate(0.4, np.ones(5), 3)
    assert np.isnan(one.minus(other).error)


@pytest.mark.parametrize(
    ("kind", "more"),
    [("separation", [29 / 24, 149 / 144, 1.0005]), ("dose", [53 / 48, 293 / 288, 1.00025])],
)
def test_the_error_is_raised_most_where_items_are_few(kind, more):
    plain = [inflation("probe", n, 12) for n in (24, 144, 10_000)]
    raised = [inflation(kind, n, 12) for n in (24, 144, 10_000)]
    assert plain == [pytest.approx(1.25 * (12 / 11) ** 0.5)] * 3
    assert [a / b for a, b in zip(raised, plain, strict=True)] == pytest.approx(more)
    assert np.isnan(inflation("probe", 24, 1))
