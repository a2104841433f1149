"""Verdicts follow from paired intervals over groups."""

import numpy as np
import pandas as pd
import pytest
from zoo.registry import Task

import zoo
from zoo._evaluation.intervals import DRAWS, Estimate, estimate, resamples
from zoo._evaluation.tasks import Score, pose_task, score_task
from zoo._evaluation.verdict import judge

NULL = np.random.default_rng(9).normal(0.5, 0.02, 199)


def normal(mean, error=0.01, seed=0, groups=8, also=None):
    """Draw a score with its standard error, whose deviations may be partly those of another."""
    deviations = np.random.default_rng(seed).normal(size=DRAWS)
    found = Estimate(mean, error * deviations / np.linalg.norm(deviations), groups - 1, 1.0)
    return found if also is None else Estimate(mean, also.deviations, groups - 1, 1.0)


def verdict(score, controls, groups=8, **options):
    return judge("e", score, controls, NULL, np.arange(groups), margin=0.05, **options)


def test_an_encoder_must_beat_every_control():
    weak, strong = normal(0.6, seed=1), normal(0.7, seed=2)
    found = verdict(normal(0.9), {"weak": weak, "strong": strong})
    assert (found.outcome, found.control) == ("beats all controls", "strong")
    assert found.gap == pytest.approx(0.2)
    assert found.low < found.gap < found.high
    found = verdict(normal(0.7), {"weak": weak, "strong": strong})
    assert (found.outcome, found.control) == ("no better than", "strong")


def test_the_sentence_names_the_control_and_the_numbers():
    found = verdict(normal(0.7), {"pixels": normal(0.71, 0.05, seed=2)})
    assert "undecided against pixels" in found.summary
    assert "0.70 against 0.71" in found.detail


def test_a_worse_encoder_is_worse():
    found = verdict(normal(0.7), {"pixels": normal(0.9, seed=2)})
    assert (found.outcome, found.control) == ("worse than", "pixels")
    assert found.high < 0


def test_the_best_of_many_equal_controls_is_picked_by_chance():
    """Two standard errors below one control is worse, but not below the best of eight."""
    lone = {"c0": normal(0.735, seed=1)}
    assert verdict(normal(0.7), lone).outcome == "worse than"
    many = {f"c{k}": normal(0.735 - 0.003 * k, seed=k + 1) for k in range(8)}
    assert verdict(normal(0.7), many).outcome == "no better than"


def test_a_noisy_weaker_control_leaves_it_undecided():
    # The best control is beaten, but a noisier one is not: the encoder does not beat all.
    score = normal(0.8)
    paired = normal(0.75, also=score)
    found = verdict(score, {"best": paired, "noisy": normal(0.72, 0.1, seed=3)})
    assert (found.outcome, found.control) == ("undecided", "noisy")


def test_pairing_finds_a_small_constant_gap():
    score = normal(0.8, 0.05)
    assert verdict(score, {"c": normal(0.79, also=score)}).outcome == "beats all controls"


def test_what_a_sample_can_show_is_said():
    score, control = normal(0.7, 0.03), normal(0.69, 0.03, seed=2)
    found = verdict(score, {"c": control})
    assert found.outcome == "undecided"
    error = score.minus(control).error
    # Student's t with 7 degrees of freedom: 2.365 at 97.5 % and 0.896 at 80 %.
    assert found.detectable == pytest.approx((2.365 + 0.896) * error, rel=1e-3)
    assert f"8 groups can show ±{found.detectable:.2f}" in found.detail
    groups = int(found.summary.split("about ")[1].split()[0])
    assert groups > 8
    # With as many groups the same difference is decided in about four of five samples.
    again = np.random.default_rng(0).normal(0.01, error * np.sqrt(8 / groups), 4000)
    close = again + 1.67 * error * np.sqrt(8 / groups) < 0.05
    assert 0.7 < close.mean() < 0.95
    assert found.power < 0.5


def test_without_a_margin_nothing_is_no_better():
    found = judge("e", normal(0.7), {"c": normal(0.7, seed=2)}, NULL, np.arange(8))
    assert found.outcome == "undecided"
    assert np.isnan(found.power)
    assert "would decide" not in found.summary


def test_one_group_that_holds_most_items_allows_no_verdict():
    groups = np.repeat(np.arange(8), [400, 10, 10, 10, 10, 10, 10, 10])
    found = judge("e", normal(0.9), {"c": normal(0.6, seed=2)}, NULL, groups)
    assert found.outcome == "no verdict"
    assert "8 groups of very unequal size count as 1.4" in found.summary


def test_few_labelings_allow_no_verdict():
    found = verdict(normal(0.9), {"c": normal(0.6, seed=2)}, labelings=35)
    assert found.outcome == "no verdict"
    assert "only 35 distinct labelings" in found.summary


def test_chance_comes_first():
    assert verdict(normal(0.51), {"c": normal(0.3)}).outcome == "at chance"
    assert verdict(normal(0.3, 0.02), {"c": normal(0.2)}).outcome == "below chance"


def test_few_groups_allow_no_verdict():
    found = verdict(normal(0.9), {"c": normal(0.6)}, groups=5)
    assert found.outcome == "no verdict"
    assert "5 groups" in found.summary


def test_ties_at_the_ceiling_are_no_better():
    perfect = Estimate(1.0, np.zeros(DRAWS), 7, 1.0)
    found = verdict(perfect, {"c": perfect})
    assert (found.outcome, found.gap, found.p_value) == ("no better than", 0.0, 1.0)


def test_identical_embeddings_are_no_better():
    score = normal(0.8, 0.2)
    found = verdict(score, {"c": normal(0.8, also=score)})
    assert (found.outcome, found.gap, found.high) == ("no better than", 0.0, 0.0)


def test_resamples_move_whole_groups():
    groups = np.array(["a", "b", "a", "c", "b", "a"])
    members = {g: set(np.flatnonzero(groups == g)) for g in "abc"}
    draws = resamples(groups, seed=1)
    assert len(draws) == DRAWS
    for positions in draws[:50]:
        counts = np.bincount(positions, minlength=6)
        for group in members.values():
            assert len({counts[i] for i in group}) == 1
    assert all(np.array_equal(a, b) for a, b in zip(draws, resamples(groups, seed=1), strict=True))


def mean_of(values):
    return Score("knn", "mean", lambda i: float(values[i].mean()), np.zeros(1))


@pytest.mark.slow
def test_the_interval_covers_the_truth_at_least_as_often_as_it_says():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 3)
    draws = resamples(groups, draws=300)
    hits = 0
    for _ in range(300):
        values = np.repeat(rng.normal(size=8), 3) + rng.normal(0, 0.1, 24)
        found = estimate([mean_of(values)], groups, draws)
        hits += found.low <= 0 <= found.high
    # Nominal 95 %; a mean has no training, for which the interval is widened by a quarter.
    assert 0.95 <= hits / 300 <= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dose", "retrieval", "knn", "probe"])
def test_noise_is_at_chance_about_as_often_as_it_should_be(kind):
    groups, labels = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    table = pd.DataFrame({"g": groups, "t": labels})
    asked = pose_task(Task(kind=kind, target="t", title="t"), table, "g")
    outside = []
    for seed in range(40):
        matrix = np.random.default_rng(seed).normal(size=(48, 10))
        for score in score_task(asked, matrix, permutations=79, seed=seed):
            low, high = np.percentile(score.null, [2.5, 97.5])
            outside.append(not low <= score.at(np.arange(48)) <= high)
    # Nominal 5 %; three binomial standard errors of 40 trials are 10 points.
    assert np.mean(outside) <= 0.15


@pytest.mark.slow
def test_two_equally_good_encoders_are_rarely_told_apart():
    groups, labels = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    table = pd.DataFrame({"g": groups, "t": labels})
    asked = pose_task(Task(kind="dose", target="t", title="t"), table, "g")
    draws = resamples(groups, draws=300)
    won = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pair = []
        for _ in range(2):
            matrix = labels[:, None] * 0.5 + rng.normal(size=(48, 5))
            pair.append(estimate(score_task(asked, matrix)[:1], groups, draws))
        won += (
            judge("e", pair[0], {"c": pair[1]}, NULL - 0.5, groups).outcome == "beats all controls"
        )
    # Nominal 2.5 %, with three binomial standard errors of 60 trials.
    assert won <= 5


def test_seeds_are_averaged():
    groups = np.arange(5)
    scores = [mean_of(np.full(5, c)) for c in (0.2, 0.4)]
    assert estimate(scores, groups, resamples(groups)).value == pytest.approx(0.3)


@pytest.mark.long
def test_permuted_labels_are_rarely_said_to_beat_all_controls():
    """Batch effects, strong structure and all: only the labels mean nothing."""
    from zoo._evaluation.contenders import Contender
    from zoo._evaluation.scoring import score

    rng = np.random.default_rng(0)
    plates = np.repeat(np.arange(8), 6)
    table = pd.DataFrame({"plate": plates, "dose": np.tile(np.arange(6), 8)})
    signal = np.c_[np.eye(6)[table["dose"]] * 3, np.eye(8)[plates] * 5]
    matrices = {
        "seeing": signal + rng.normal(size=signal.shape),
        "noise": rng.normal(size=(48, 5)),
        "plates": np.eye(8)[plates] + 0.1 * rng.normal(size=(48, 8)),
    }
    contenders = {
        name: Contender(
            zoo.plugin.EncoderSpec(name=name, builder="m:f", summary="s"),
            (zoo.Embeddings(rows.astype("f4"), table, {}),),
        )
        for name, rows in matrices.items()
    }
    tasks = [zoo.Task(kind=k, target="dose", title="dose") for k in ("dose", "knn")]

    def praised(metadata, seed):
        questions = [pose_task(task, metadata, "plate") for task in tasks]
        rows = score(questions, contenders, seed)
        return [r.verdict.outcome == "beats all controls" for r in rows]

    assert any(praised(table, 0)), "with its own labels it is praised"
    found = []
    for seed in range(100):
        order = table.groupby("plate")["dose"].transform(
            lambda v, seed=seed: np.random.default_rng([seed, v.index[0]]).permutation(v)
        )
        found += praised(table.assign(dose=order), seed)
    assert np.mean(found) <= 0.05
