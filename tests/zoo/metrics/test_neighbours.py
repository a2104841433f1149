"""Neighbours against a loop in float64."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from zoo.metrics import majority_vote, nearest_neighbours
from zoo.metrics._threads import run_in_threads

METRICS = ("cosine", "euclidean")


def naive_neighbours(rows, k, metric, exclude=None):
    """Sort all other items by distance and index, one query at a time."""
    rows = rows.astype(np.float64)
    labels = np.arange(len(rows)) if exclude is None else exclude
    indices, distances = [], []
    for i, query in enumerate(rows):
        found = []
        for j, row in enumerate(rows):
            if metric == "cosine":
                far = 1 - query @ row / np.sqrt((query @ query) * (row @ row))
            else:
                far = np.sqrt(((query - row) ** 2).sum())
            if labels[i] != labels[j]:
                found.append((round(far, 12), j))
        found = sorted(found)[:k]
        indices.append([j for _, j in found])
        distances.append([far for far, _ in found])
    return np.array(indices), np.array(distances)


def assert_naive(rows, k, metric, exclude=None, **settings):
    indices, distances = nearest_neighbours(rows, k, metric=metric, exclude=exclude, **settings)
    wanted, far = naive_neighbours(rows, k, metric, exclude)
    np.testing.assert_array_equal(indices, wanted)
    np.testing.assert_allclose(distances, far, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 5, 59])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_loop_finds_the_same(metric, k, dtype):
    rows = np.random.default_rng(0).normal(size=(60, 7)).astype(dtype)
    assert_naive(rows, k, metric)


@pytest.mark.parametrize("metric", METRICS)
def test_no_neighbour_is_of_the_group_of_the_query(metric):
    rng = np.random.default_rng(0)
    groups = np.array(["a", "b", "c"])[rng.integers(0, 3, 50)]
    rows = rng.normal(size=(50, 4)) + 10 * (groups == "a")[:, None]
    indices, _ = nearest_neighbours(rows, 6, metric=metric, exclude=groups)
    assert (groups[indices] != groups[:, None]).all()
    assert_naive(rows, 6, metric, groups)


@pytest.mark.parametrize("metric", METRICS)
def test_what_float32_cannot_tell_apart_is_told_apart(metric):
    rng = np.random.default_rng(0)
    tight = 1 + 1e-6 * rng.normal(size=(80, 3))
    outlier = np.array([[-500.0, 300, 100]])
    rows = np.concatenate([tight, outlier])
    if metric == "euclidean":
        assert_naive(rows, 4, metric)
    indices, distances = nearest_neighbours(rows, 4, metric=metric)
    all_far = [((rows[i] - rows[j]) @ (rows[i] - rows[j])) for i in range(80) for j in indices[i]]
    assert max(all_far) < 1e-10
    assert (distances[:80] < 1e-5).all()


@pytest.mark.parametrize("metric", METRICS)
def test_many_items_are_screened_by_parts(metric):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5000, 3)).astype(np.float32)
    rows[40:90] = rows[0]
    indices, distances = nearest_neighbours(rows, 3, metric=metric, entries=2**18)
    assert (indices[50] == [0, 40, 41]).all()
    assert not distances[50].any()
    points = rows.astype(float)
    if metric == "cosine":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    for i in rng.integers(100, 5000, 50):
        far = ((points - points[i]) ** 2).sum(1)
        far[i] = np.inf
        assert (indices[i] == np.argsort(far, kind="stable")[:3]).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("entries", [1, 100, 1000])
def test_blocks_change_nothing(metric, entries):
    rows = np.random.default_rng(0).integers(1, 4, size=(40, 3)).astype(float)
    wanted = nearest_neighbours(rows, 7, metric=metric)
    found = nearest_neighbours(rows, 7, metric=metric, entries=entries)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])
    assert_naive(rows, 7, metric, entries=entries)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("settings", [{"threads": 3}, {"device": "cpu"}], ids=str)
def test_threads_and_the_code_for_gpus_change_nothing(metric, settings):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 5)).astype(np.float32)
    rows[200:] = rows[:100]  # with ties
    for exclude in (None, np.arange(300) % 7):
        wanted = nearest_neighbours(rows, 9, metric=metric, exclude=exclude, threads=1)
        found = nearest_neighbours(
            rows, 9, metric=metric, exclude=exclude, entries=5000, **settings
        )
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])
    assert_naive(rows[:60], 9, metric, **settings)


def test_tasks_are_shared_out_once_and_stop_at_the_first_error():
    for threads in (0, 1, 4, None):
        done = []
        run_in_threads(done.append, iter(range(100)), threads)
        assert sorted(done) == list(range(100))
        begun = []

        def fail(task, begun=begun):
            begun.append(task)
            if task == 3:
                raise KeyError(task)

        with pytest.raises(KeyError):
            run_in_threads(fail, iter(range(10**9)), threads)
        assert begun[:4] == [0, 1, 2, 3]


def test_votes_equal_scikit_learn():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(200, 4)), np.array(list("abc"))[rng.integers(0, 3, 200)]
    rows += 2.0 * (labels == "a")[:, None]
    indices, _ = nearest_neighbours(rows, 9)
    for k in (1, 3, 9):
        model = KNeighborsClassifier(k, metric="cosine")
        probabilities = np.empty((200, 3))
        for i in range(200):
            others = np.arange(200) != i
            probabilities[i] = model.fit(rows[others], labels[others]).predict_proba(rows[[i]])[0]
        found = majority_vote(indices, labels, k=k)
        best = probabilities.max(1)
        at = np.searchsorted(model.classes_, found)
        np.testing.assert_array_equal(probabilities[np.arange(200), at], best)
        one = (probabilities == best[:, None]).sum(1) == 1
        assert one.sum() > 100
        np.testing.assert_array_equal(found[one], model.classes_[probabilities.argmax(1)][one])


def test_of_labels_with_as_many_votes_the_nearest_wins():
    labels = np.array(["a", "b", "b", "c", "a"])
    indices = np.array([[3, 1, 2, 4], [2, 0, 4, 3], [3, 0, 4, 1], [1, 0, 2, 4], [3, 1, 0, 2]])
    assert majority_vote(indices, labels).tolist() == ["b", "a", "a", "b", "b"]
    assert majority_vote(indices, labels, k=1).tolist() == ["c", "b", "c", "b", "c"]
    assert majority_vote(indices, labels, k=2).tolist() == ["c", "b", "c", "b", "c"]
    with pytest.raises(ValueError, match="k must be between 1 and the 4 given neighbours, not 5"):
        majority_vote(indices, labels, k=5)
    with pytest.raises(ValueError, match="one entry for each of 5 items"):
        majority_vote(indices, labels[1:])
    with pytest.raises(ValueError, match="item 1 has no label"):
        majority_vote(indices, np.array(["a", None, "b", "c", "a"]))


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_items_changes_nothing(metric):
    rng = np.random.default_rng(0)
    rows, shuffle = rng.normal(size=(70, 5)), rng.permutation(70)
    indices, distances = nearest_neighbours(rows, 6, metric=metric)
    shuffled, far = nearest_neighbours(rows[shuffle], 6, metric=metric)
    np.testing.assert_array_equal(shuffle[shuffled], indices[shuffle])
    np.testing.assert_allclose(far, distances[shuffle], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("metric", METRICS)
def test_of_equal_items_the_lower_index_is_nearer(metric):
    indices, distances = nearest_neighbours(np.full((5, 3), 0.1), 2, metric=metric)
    np.testing.assert_array_equal(indices, [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]])
    assert not distances.any()


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e200])
def test_size_does_not_matter(size):
    rows = np.random.default_rng(0).normal(size=(20, 4))
    for metric in METRICS:
        wanted, far = nearest_neighbours(rows, 3, metric=metric)
        found, scaled = nearest_neighbours(rows * size, 3, metric=metric)
        np.testing.assert_array_equal(found, wanted)
        unit = size if metric == "euclidean" else 1
        np.testing.assert_allclose(scaled, far * unit, rtol=1e-9)


def test_arguments_that_make_no_sense():
    rows = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(ValueError, match="item 0 has 5 possible neighbours, fewer than k = 6"):
        nearest_neighbours(rows, 6)
    with pytest.raises(ValueError, match="item 1 has 2 possible neighbours, fewer than k = 3"):
        nearest_neighbours(rows, 3, exclude=np.array([0, 1, 1, 1, 1, 0]))
    with pytest.raises(ValueError, match="item 0 has 0 possible neighbours"):
        nearest_neighbours(rows, 1, exclude=np.zeros(6))
    with pytest.raises(ValueError, match="k must be at least 1"):
        nearest_neighbours(rows, 0)
    with pytest.raises(ValueError, match="entries must be at least 1"):
        nearest_neighbours(rows, 1, entries=0)
    with pytest.raises(ValueError, match="must be 'cpu' or 'cuda'"):
        nearest_neighbours(rows, 1, device="meta")
    with pytest.raises(ValueError, match="metric must be"):
        nearest_neighbours(rows, 1, metric="manhattan")
    with pytest.raises(ValueError, match="6 labels"):
        nearest_neighbours(rows, 1, exclude=np.zeros(5))
    with pytest.raises(ValueError, match="item 2 has no label"):
        nearest_neighbours(rows, 1, exclude=np.array(["a", "b", None, "c", "d", "e"]))
    for shape in [(6,), (0, 2), (3, 0), (2, 2, 2)]:
        with pytest.raises(ValueError, match="matrix"):
            nearest_neighbours(np.zeros(shape), 1)
    with pytest.raises(ValueError, match="row 4 of embedding is all zeros"):
        nearest_neighbours(rows * (np.arange(6) != 4)[:, None], 1)
    rows[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in 1 of 6 rows.*row 3"):
        nearest_neighbours(rows, 1)
