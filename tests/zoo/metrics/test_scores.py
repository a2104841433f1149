"""Scores against scikit-learn, SciPy and enumeration."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as sk

from zoo.metrics import (
    average_precision,
    balanced_accuracy,
    expected_average_precision,
    macro_f1,
    normalised_average_precision,
    r_squared,
    roc_auc,
    spearman,
    z_prime,
)
from zoo.metrics._matrix import standardise
from zoo.metrics._precision import rank_other_groups
from zoo.metrics._scores import majority_baseline

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


@pytest.mark.parametrize("seed", SEEDS)
def test_macro_f1_equals_scikit_learn_over_the_classes_in_truth(seed):
    rng = np.random.default_rng(seed)
    for names in (np.arange(4), np.array(list("dbca"))):
        truth, predicted = names[rng.integers(0, 3, 50)], names[rng.integers(0, 4, 50)]
        wanted = sk.f1_score(truth, predicted, average="macro", labels=np.unique(truth))
        assert macro_f1(truth, predicted) == pytest.approx(wanted, abs=1e-12)
        predicted = names[rng.integers(0, 3, 50)]
        wanted = sk.f1_score(truth, predicted, average="macro")
        assert macro_f1(truth, predicted) == pytest.approx(wanted, abs=1e-12)


def test_macro_f1_at_its_ends():
    truth = np.array([0, 0, 1, 2])
    assert macro_f1(truth, truth) == 1
    assert macro_f1(truth, truth + 5) == 0
    assert macro_f1(truth, truth - 5) == 0
    assert macro_f1(np.zeros(3), np.zeros(3)) == 1
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 5000)
    # Even classes guessed at random: precision and recall are a quarter, with an sd below 0.01.
    assert macro_f1(truth, rng.permutation(truth)) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("counts", [(5,), (3, 3), (1, 4, 2), (10, 1, 1, 10)])
def test_the_majority_baseline_equals_scikit_learn(counts):
    truth = np.repeat(np.arange(len(counts)), counts)
    predicted = np.full(len(truth), int(np.argmax(counts)))
    assert majority_baseline(truth) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(truth, predicted),
            "balanced accuracy": balanced_accuracy(truth, predicted),
            "macro-F1": sk.f1_score(truth, predicted, average="macro"),
        }
    )
    with pytest.raises(ValueError, match="no items"):
        majority_baseline(truth[:0])


def test_z_prime_by_hand():
    # Means 10 and 2, standard deviations 1 and 2: 1 − 3·3/8.
    assert z_prime(np.array([9.0, 10, 11]), np.array([0, 2, 4])) == pytest.approx(-1 / 8)
    assert z_prime(np.array([5.0, 5]), np.array([1, 1])) == 1
    assert z_prime(np.array([0.0, 2]), np.array([-1, 3])) == -np.inf
    assert np.isnan(z_prime(np.ones(4), np.ones(3)))
    assert np.isnan(z_prime(np.ones(1), np.zeros(5)))
    assert np.isnan(z_prime(np.array([1.0, np.nan]), np.zeros(5)))
    with pytest.raises(ValueError, match="must be vectors"):
        z_prime(np.ones((3, 2)), np.ones(3))
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(50, 1, 100_000), rng.normal(0, 2, 100_000)
    # Sampling errors of means and deviations are below 0.01, of 50 and of 3.
    assert z_prime(positive, negative) == pytest.approx(1 - 3 * 3 / 50, abs=0.005)


def test_normalised_precision_is_0_at_chance_and_1_if_perfect():
    chance = np.array(
        [expected_average_precision(3, 10), expected_average_precision(1, 2), 1.0, np.nan]
    )
    np.testing.assert_allclose(normalised_average_precision(chance, chance), [0, 0, np.nan, np.nan])
    np.testing.assert_allclose(
        normalised_average_precision(np.ones(4), chance), [1, 1, np.nan, np.nan]
    )
    np.testing.assert_allclose(normalised_average_precision(0.4, 0.2), 0.25)


def test_rankings_of_groups_in_a_block_are_standardised_outside_it():
    """By loops; groups of the same block stay candidates."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(6), 3)
    block = groups // 2
    embedding = rng.normal(size=(18, 4)) * [1, 5, 1, 1] + 3 * (block == 1)[:, None]
    found = dict(rank_other_groups(embedding, groups, block=block))
    assert sorted(found) == list(range(18))
    for i, ranked in found.items():
        outside = embedding[block != block[i]]
        z = (embedding - outside.mean(0)) / outside.std(0)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        others = [j for j in range(18) if groups[j] != groups[i]]
        assert ranked.tolist() == sorted(others, key=lambda j: -z[i] @ z[j])


def retrieval_precision(embedding, labels, groups):
    precision = np.full(len(labels), np.nan)
    for i, ranked in rank_other_groups(embedding, groups):
        precision[i] = average_precision((labels[ranked] == labels[i])[:, None])[0]
    return precision


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
    chance = expected_average_precision(14, 84)
    assert retrieval_precision(shortcut, labels, groups).mean() == pytest.approx(chance, abs=0.05)


def test_rankings_equal_scikit_learn():
    rng = np.random.default_rng(0)
    relevant = rng.random((20, 6)) < 0.3
    wanted = [sk.average_precision_score(column, -np.arange(20)) for column in relevant.T]
    np.testing.assert_allclose(average_precision(relevant), wanted, atol=1e-12)
    assert np.isnan(average_precision(np.ones((4, 1), bool))).all()
    assert np.isnan(average_precision(np.zeros((4, 1), bool))).all()


def test_an_embedding_without_information_retrieves_at_chance():
    groups, labels = np.repeat(np.arange(20), 6), np.tile(np.arange(6), 20)
    found = retrieval_precision(np.ones((120, 3)), labels, groups)
    # 120 shuffled rankings of 114 items: the standard error of the mean is about 0.01.
    assert found.mean() == pytest.approx(expected_average_precision(19, 114), abs=0.03)


def test_dead_features_stay_dead():
    seen = np.c_[np.arange(4.0), 1 + 1e-6 * np.arange(4), np.zeros(4)].astype(np.float32)
    a, b = standardise(seen, seen[:2])
    np.testing.assert_allclose(a[:, 0], (np.arange(4) - 1.5) / np.std(np.arange(4)), atol=1e-6)
    assert not a[:, 1:].any()
    assert not b[:, 1:].any()


@pytest.mark.parametrize(("positives", "total"), [(1, 1), (1, 5), (2, 6), (3, 7), (5, 5)])
def test_expected_precision_is_the_mean_over_all_rankings(positives, total):
    values = []
    for places in itertools.combinations(range(1, total + 1), positives):
        values.append(np.mean([(k + 1) / rank for k, rank in enumerate(places)]))
    assert expected_average_precision(positives, total) == pytest.approx(np.mean(values), abs=1e-12)


def test_expected_precision_needs_a_positive():
    with pytest.raises(ValueError, match="between 1 and the 3 items, not 0"):
        expected_average_precision(0, 3)
