"""Robustness index and CRoMa against loops and their values by chance."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from zoo.metrics import croma, robustness_index
from zoo.metrics._robustness import expected_robustness_index

SEEDS = range(3)


def neighbours(embedding, k):
    return NearestNeighbors(n_neighbors=k).fit(embedding).kneighbors(return_distance=False)


def design(seed, items=120, labels=3, batches=4):
    rng = np.random.default_rng(seed)
    return rng, rng.integers(0, labels, items), rng.integers(0, batches, items)


def embed(rng, labels, batches, label_effect, batch_effect, features=6):
    embedding = rng.normal(size=(len(labels), features))
    embedding += label_effect * rng.normal(size=(20, features))[labels]
    return embedding + batch_effect * rng.normal(size=(20, features))[batches]


def naive_counts(indices, labels, batches):
    so = os = 0
    for i, near in enumerate(indices):
        for j in near:
            so += labels[i] == labels[j] and batches[i] != batches[j]
            os += labels[i] != labels[j] and batches[i] == batches[j]
    return so, os


@pytest.mark.parametrize("k", [1, 5, 12])
@pytest.mark.parametrize("seed", SEEDS)
def test_robustness_index_equals_a_loop(seed, k):
    rng, labels, batches = design(seed)
    indices = neighbours(embed(rng, labels, batches, 1, 1), 12)
    so, os = naive_counts(indices[:, :k], labels, batches)
    found = robustness_index(indices, labels, batches, k=k)
    assert found.value == pytest.approx(so / (so + os))
    assert (found.support, found.neighbours) == (so + os, 120 * k)


def test_robustness_index_at_its_ends():
    labels, batches = np.arange(120) % 3, np.arange(120) // 3 % 4
    rng = np.random.default_rng(0)
    biology = neighbours(100 * np.eye(3)[labels] + rng.normal(size=(120, 3)), 10)
    technical = neighbours(100 * np.eye(4)[batches] + rng.normal(size=(120, 4)), 10)
    assert robustness_index(biology, labels, batches).value == 1
    assert robustness_index(technical, labels, batches).value == 0


@pytest.mark.parametrize(("count", "batch_count"), [(2, 2), (2, 6), (7, 3)])
def test_noise_scores_the_expected_index(count, batch_count):
    rng, labels, batches = design(0, 3000, count, batch_count)
    found = robustness_index(neighbours(rng.normal(size=(3000, 5)), 15), labels, batches)
    assert found.value == pytest.approx(found.expected, abs=0.02)
    assert found.value == pytest.approx(found.expected_by_design, abs=0.02)


@pytest.mark.parametrize(
    ("labels", "batches", "wanted"),
    [
        ("aabb", "xyxy", 0.5),
        ("aabbcc" * 2, "xxxxxxyyyyyy", 1 / 3 * 0.5 / (1 / 3 * 0.5 + 0.5 * 2 / 3)),
        ("aaaa", "xxyy", 1.0),
        ("aabb", "xxxx", 0.0),
        ("aaaa", "xxxx", np.nan),
    ],
)
def test_expected_index_of_small_designs(labels, batches, wanted):
    labels, batches = np.array(list(labels)), np.array(list(batches))
    assert expected_robustness_index(labels, batches) == pytest.approx(wanted, nan_ok=True)
    others = np.array([np.delete(np.arange(len(labels)), i) for i in range(len(labels))])
    found = robustness_index(others, labels, batches)
    # With all items as neighbours the design alone decides.
    assert found.value == pytest.approx(found.expected_by_design, nan_ok=True)
    assert found.expected_by_design == pytest.approx(wanted, nan_ok=True)


def test_a_confounded_design_has_another_expected_index():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 3000)
    batches = np.where(rng.random(3000) < 0.9, labels, 1 - labels) + 2 * rng.integers(0, 2, 3000)
    found = robustness_index(neighbours(rng.normal(size=(3000, 5)), 15), labels, batches)
    assert found.value == pytest.approx(found.expected_by_design, abs=0.02)
    assert abs(found.value - found.expected) > 0.05


def test_robustness_index_without_support():
    ring = (np.arange(8)[:, None] + [1]) % 8
    found = robustness_index(ring, np.zeros(8), np.zeros(8))
    assert np.isnan(found.value)
    assert np.isnan(found.expected)
    assert (found.support, found.neighbours) == (0, 8)
    found = robustness_index(ring, np.arange(8), np.arange(8))
    assert np.isnan(found.value)
    assert found.support == 0


def test_robustness_index_of_wrong_arguments():
    ring = (np.arange(8)[:, None] + [1, 2]) % 8
    for k in (0, 3):
        with pytest.raises(ValueError, match="between 1 and the 2 given"):
            robustness_index(ring, np.zeros(8), np.zeros(8), k=k)
    with pytest.raises(ValueError, match="batches must have one entry for each of 8"):
        robustness_index(ring, np.zeros(8), np.zeros(7))
    with pytest.raises(ValueError, match="its own neighbour"):
        robustness_index(np.arange(8)[:, None], np.zeros(8), np.zeros(8))


def naive_croma(embedding, labels, batches, m, metric):
    distance = cdist(embedding, embedding, metric)
    margins = []
    for i in range(len(labels)):
        so = distance[i][(labels == labels[i]) & (batches != batches[i])]
        os = distance[i][(labels != labels[i]) & (batches == batches[i])]
        if len(so) < m or len(os) < m:
            margins.append(np.nan)
        else:
            near, far = np.sort(so)[:m].mean(), np.sort(os)[:m].mean()
            margins.append((far - near) / (far + near))
    return np.array(margins)


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("m", [1, 5])
def test_croma_equals_a_loop_whatever_the_block(m, metric, rows):
    for seed in SEEDS:
        rng, labels, batches = design(seed, 80)
        embedding = embed(rng, labels, batches, 1, 1)
        found = croma(embedding, labels, batches, m=m, metric=metric, rows=rows)
        wanted = naive_croma(embedding, labels, batches, m, metric)
        np.testing.assert_allclose(found.margins, wanted, atol=1e-10)
        assert found.items == np.isfinite(wanted).sum()
        ranked = np.sort(wanted[np.isfinite(wanted)])
        assert found.median == pytest.approx(np.median(ranked))
        assert found.worst_tenth == pytest.approx(ranked[: -(-len(ranked) // 10)].mean())
        assert found.share_not_positive == pytest.approx((ranked <= 0).mean())


def test_croma_at_its_ends_and_by_chance():
    rng = np.random.default_rng(0)
    labels, batches = np.arange(600) % 3, np.arange(600) // 3 % 3
    noise = 0.01 * rng.normal(size=(600, 3))
    biology = croma(np.eye(3)[labels] + noise, labels, batches)
    assert biology.margins.min() > 0.99
    assert biology.share_not_positive == 0
    technical = croma(np.eye(3)[batches] + noise, labels, batches)
    assert technical.margins.max() < -0.99
    assert technical.share_not_positive == 1
    nothing = croma(noise, labels, batches)
    assert nothing.median == pytest.approx(0, abs=0.05)
    assert nothing.share_not_positive == pytest.approx(0.5, abs=0.06)
    assert nothing.worst_tenth < nothing.median


def test_croma_of_an_embedding_that_hardly_varies_keeps_its_digits():
    rng, labels, batches = design(0)
    embedding = embed(rng, labels, batches, 1, 1, 5)
    embedding -= embedding.mean(0)
    found = croma(np.c_[1e-6 * embedding, np.ones(120)], labels, batches).margins
    wanted = naive_croma(embedding, labels, batches, 5, "sqeuclidean")
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_croma_counts_what_it_leaves_out():
    rng, labels, batches = design(0)
    labels[0] = 9
    found = croma(embed(rng, labels, batches, 1, 1), labels, batches)
    assert np.isnan(found.margins[0])
    assert (found.items, found.too_few, found.coincident) == (119, 1, 0)
    for wrong_labels, wrong_batches in [(labels * 0, batches), (labels, batches * 0)]:
        found = croma(rng.normal(size=(120, 3)), wrong_labels, wrong_batches)
        assert np.isnan([found.median, found.worst_tenth, found.share_not_positive]).all()
        assert (found.items, found.too_few) == (0, 120)
    assert croma(rng.normal(size=(120, 3)), labels, batches, m=500).too_few == 120


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_croma_of_coinciding_items_is_undefined(metric):
    rng, labels, batches = design(0)
    found = croma(np.tile(rng.normal(size=7), (120, 1)), labels, batches, metric=metric)
    assert (found.items, found.too_few, found.coincident) == (0, 0, 120)
    # Copies of one place per label: the same label is at distance 0.
    found = croma(rng.normal(size=(3, 7))[labels], labels, batches, metric=metric)
    np.testing.assert_array_equal(found.margins, np.ones(120))


def test_croma_of_wrong_arguments():
    rng, labels, batches = design(0)
    embedding = rng.normal(size=(120, 3))
    with pytest.raises(ValueError, match="m must be at least 1"):
        croma(embedding, labels, batches, m=0)
    with pytest.raises(ValueError, match="labels must have one entry for each of 120"):
        croma(embedding, labels[1:], batches)
    with pytest.raises(ValueError, match="rows must be at least 1"):
        croma(embedding, labels, batches, rows=0)
    embedding[4, 1] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite numbers in 1 of 120 rows"):
        croma(embedding, labels, batches)
