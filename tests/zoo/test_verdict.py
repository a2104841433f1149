"""Verdicts follow from paired intervals over groups."""

import numpy as np
import pytest

from zoo._tasks import Score
from zoo._verdict import DRAWS, Estimate, estimate, interval, judge, resamples


def normal(mean, spread=0.01, seed=0):
    draws = np.random.default_rng(seed).normal(mean, spread, DRAWS)
    return Estimate(mean, *interval(draws), draws)


def verdict(score, controls, chance=0.5, groups=8):
    return judge("e", score, controls, chance, groups)


def test_an_encoder_must_beat_every_control():
    weak, strong = normal(0.6, seed=1), normal(0.7, seed=2)
    found = verdict(normal(0.9), {"weak": weak, "strong": strong})
    assert (found.outcome, found.control) == ("beats all controls", "strong")
    assert found.gap == pytest.approx(0.2)
    assert found.low < found.gap < found.high
    found = verdict(normal(0.7), {"weak": weak, "strong": strong})
    assert (found.outcome, found.control) == ("matched by", "strong")


def test_the_sentence_names_the_control_and_the_numbers():
    found = verdict(normal(0.7), {"pixels": normal(0.71, 0.05, seed=2)})
    assert "matched by pixels" in found.words
    assert "0.70 against 0.71" in found.sentence


def test_a_worse_encoder_is_beaten():
    found = verdict(normal(0.7), {"pixels": normal(0.9, seed=2)})
    assert (found.outcome, found.control) == ("beaten by", "pixels")
    assert found.high < 0


def test_a_noisy_weaker_control_can_still_match():
    # The best control is beaten, but a noisier one is not: the encoder does not beat all.
    score = normal(0.8)
    paired = Estimate(0.75, *interval(score.draws - 0.05), score.draws - 0.05)
    found = verdict(score, {"best": paired, "noisy": normal(0.72, 0.1, seed=3)})
    assert (found.outcome, found.control) == ("matched by", "noisy")


def test_pairing_finds_a_small_constant_gap():
    score = normal(0.8, 0.05)
    control = Estimate(0.79, *interval(score.draws - 0.01), score.draws - 0.01)
    assert verdict(score, {"c": control}).outcome == "beats all controls"


def test_chance_comes_first():
    assert verdict(normal(0.5, 0.02), {"c": normal(0.3)}).outcome == "at chance"
    assert verdict(normal(0.3, 0.02), {"c": normal(0.2)}).outcome == "below chance"


def test_few_groups_allow_no_verdict():
    found = verdict(normal(0.9), {"c": normal(0.6)}, groups=2)
    assert found.outcome == "no verdict"
    assert "2 groups" in found.words


def test_ties_at_the_ceiling_are_matches():
    perfect = Estimate(1.0, 1.0, 1.0, np.ones(DRAWS))
    assert verdict(perfect, {"c": perfect}).outcome == "matched by"


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


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        groups = np.repeat(np.arange(20), 3)
        values = np.repeat(rng.normal(size=20), 3) + rng.normal(0, 0.1, 60)
        score = Score("mean", 0.0, lambda i, v=values: float(v[i].mean()))
        found = estimate([score], resamples(groups)[:300], 60)
        hits += found.low <= 0 <= found.high
    # Percentile bootstrap over 20 groups: nominal 95 %, known to fall a little short;
    # three binomial standard errors of 200 are 5 points.
    assert 0.85 <= hits / 200 <= 1.0


def test_seeds_are_averaged():
    draws = resamples(np.arange(5))
    scores = [Score("m", 0.0, lambda i, c=c: c) for c in (0.2, 0.4)]
    assert estimate(scores, draws, 5).value == pytest.approx(0.3)
