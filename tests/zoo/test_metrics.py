"""Scores against scikit-learn, SciPy and enumeration."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as sk

from zoo._metrics import (
    balanced_accuracy,
    expected_precision,
    r_squared,
    retrieval_precision,
    roc_auc,
    spearman,
)

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_equal_the_libraries(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    noisy = truth + rng.normal(size=50)
    assert spearman(truth, predicted) == pytest.approx(spearmanr(truth, predicted)[0], abs=1e-12)
    assert r_squared(truth, noisy) == pytest.approx(sk.r2_score(truth, noisy), abs=1e-12)
    wanted = sk.balanced_accuracy_score(truth, predicted)
    assert balanced_accuracy(truth, predicted) == pytest.approx(wanted, abs=1e-12)
    wanted = sk.roc_auc_score(truth > 1, predicted)
    assert roc_auc(truth > 1, predicted) == pytest.approx(wanted, abs=1e-12)


def test_perfect_and_degenerate_cases():
    truth = np.array([0, 0, 1, 1, 2, 2])
    flat = np.zeros(6)
    assert spearman(truth, truth) == pytest.approx(1)
    assert spearman(truth, flat) == 0
    assert r_squared(truth, truth) == 1
    assert r_squared(truth, np.full(6, truth.mean())) == 0
    assert np.isnan(r_squared(flat, flat))
    assert balanced_accuracy(truth, truth) == 1
    assert balanced_accuracy(truth, flat) == pytest.approx(1 / 3)
    assert roc_auc(truth > 0, truth) == 1
    assert roc_auc(truth > 0, flat) == 0.5
    assert np.isnan(roc_auc(truth > 5, truth))


def naive_precision(embedding, labels, groups, i):
    """Rank the other groups by cosine and average the precision at each positive, by loops."""
    others = [j for j in range(len(labels)) if groups[j] != groups[i]]
    centre = np.mean([embedding[j] for j in others], axis=0)
    spread = np.std([embedding[j] for j in others], axis=0)
    z = (embedding - centre) / spread

    def cosine(j):
        return z[i] @ z[j] / np.sqrt((z[i] @ z[i]) * (z[j] @ z[j]))

    ranked = sorted(others, key=cosine, reverse=True)
    hits, precisions = 0, []
    for rank, j in enumerate(ranked, start=1):
        if labels[j] == labels[i]:
            hits += 1
            precisions.append(hits / rank)
    return np.mean(precisions)


@pytest.mark.parametrize("seed", SEEDS)
def test_retrieval_equals_a_loop(seed):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 3, 30), rng.integers(0, 4, 30)
    embedding = rng.normal(size=(30, 6)) + labels[:, None]
    found = retrieval_precision(embedding, labels, groups)
    wanted = [naive_precision(embedding, labels, groups, i) for i in range(30)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_retrieval_of_separate_labels_is_perfect_and_of_single_ones_undefined():
    labels = np.array(["a", "b", "a", "b", "c"])
    groups = np.array([0, 0, 1, 1, 1])
    embedding = np.array([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1], [0.5, 0.5]])
    found = retrieval_precision(embedding, labels, groups)
    np.testing.assert_allclose(found[:4], 1)
    assert np.isnan(found[4])


def test_a_shortcut_shared_within_a_group_does_not_help():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 12)
    labels = np.tile(np.arange(6), 16)
    shortcut = np.eye(8)[groups] * 100 + rng.normal(size=(96, 8))
    chance = expected_precision(14, 84)
    assert retrieval_precision(shortcut, labels, groups).mean() == pytest.approx(chance, abs=0.05)


@pytest.mark.parametrize(("positives", "total"), [(1, 1), (1, 5), (2, 6), (3, 7), (5, 5)])
def test_expected_precision_is_the_mean_over_all_rankings(positives, total):
    values = []
    for places in itertools.combinations(range(1, total + 1), positives):
        values.append(np.mean([(k + 1) / rank for k, rank in enumerate(places)]))
    assert expected_precision(positives, total) == pytest.approx(np.mean(values), abs=1e-12)


def test_expected_precision_needs_a_positive():
    with pytest.raises(ValueError, match="0 positives among 3"):
        expected_precision(0, 3)
