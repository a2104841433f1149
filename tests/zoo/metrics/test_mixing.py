"""Mixing scores against scikit-learn, SciPy, scib-metrics where it is installed, and loops."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import chisquare
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import silhouette_samples as sk_silhouette
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from zoo.metrics import (
    Mixing,
    bras,
    clisi,
    graph_connectivity,
    ilisi,
    kbet,
    lisi,
    mixing,
    principal_component_regression,
    silhouette_batch,
    silhouette_label,
    silhouette_samples,
)
from zoo.metrics._mixing import design_refusal

METRICS = ["cosine", "euclidean"]
BLOCKS = [1, 7, 1000]


def neighbours(embedding, k, metric="euclidean"):
    distances, indices = NearestNeighbors(n_neighbors=k, metric=metric).fit(embedding).kneighbors()
    return indices, distances


def planted(seed, label_effect=3.0, batch_effect=1.0, items=90, features=6):
    rng = np.random.default_rng(seed)
    labels, batches = rng.integers(0, 3, items), rng.integers(0, 4, items)
    label_means, batch_means = rng.normal(size=(3, features)), rng.normal(size=(4, features))
    embedding = rng.normal(size=(items, features))
    embedding += label_effect * label_means[labels] + batch_effect * batch_means[batches]
    return embedding, labels, batches


def cosine_distances(embedding):
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    return 1 - unit @ unit.T


def naive_bras(embedding, labels, batches):
    distance = cosine_distances(embedding)
    per_label = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(set(batches[members])) < 2:
            continue
        scores = []
        for i in members:
            same = [j for j in members if batches[j] == batches[i] and j != i]
            other = [j for j in members if batches[j] != batches[i]]
            if same:
                a, b = distance[i, same].mean(), distance[i, other].mean()
                scores.append(1 - abs((b - a) / max(a, b)))
            else:
                scores.append(1)
        per_label.append(np.mean(scores))
    return np.mean(per_label)


@pytest.mark.parametrize("rows", BLOCKS)
@pytest.mark.parametrize("metric", METRICS)
def test_silhouettes_equal_scikit_learn_whatever_the_block(metric, rows):
    for seed in range(3):
        embedding, labels, batches = planted(seed)
        found = silhouette_samples(embedding, labels, metric=metric, rows=rows)
        np.testing.assert_allclose(
            found, sk_silhouette(embedding, labels, metric=metric), atol=1e-12
        )
        wanted = (silhouette_score(embedding, labels, metric=metric) + 1) / 2
        found = silhouette_label(embedding, labels, metric=metric, rows=rows)
        assert found == pytest.approx(wanted, abs=1e-12)
        wanted = [
            (1 - np.abs(sk_silhouette(embedding[inside], batches[inside], metric=metric))).mean()
            for inside in (labels == label for label in range(3))
        ]
        found = silhouette_batch(embedding, labels, batches, metric=metric, rows=rows)
        assert found == pytest.approx(np.mean(wanted), abs=1e-12)
        found = bras(embedding, labels, batches, rows=rows)
        assert found == pytest.approx(naive_bras(embedding, labels, batches), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_silhouettes_of_an_embedding_that_hardly_varies_keep_their_digits(metric):
    embedding, labels, _ = planted(0, features=4)
    embedding = np.c_[embedding - embedding.mean(0), np.zeros(len(embedding))]
    # Around one far point and orthogonal to it, cosine distances are half the squared Euclidean.
    found = silhouette_samples(np.eye(5)[4] + 1e-6 * embedding, labels, metric=metric)
    wanted = sk_silhouette(
        embedding, labels, metric="sqeuclidean" if metric == "cosine" else metric
    )
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_silhouettes_at_their_ends():
    corners = np.repeat(np.eye(3), 20, axis=0)
    labels, batches = np.repeat(np.arange(3), 20), np.tile(np.arange(2), 30)
    for metric in METRICS:
        assert silhouette_label(corners, labels, metric=metric) == pytest.approx(1)
        assert silhouette_batch(corners, labels, batches, metric=metric) == pytest.approx(1)
        apart = np.c_[corners, 100 * batches, 100 * (1 - batches)]
        assert silhouette_batch(apart, labels, batches, metric=metric) == pytest.approx(0, abs=0.01)
    assert bras(corners, labels, batches) == pytest.approx(1)
    assert bras(apart, labels, batches) == pytest.approx(0, abs=0.01)
    noise = np.random.default_rng(0).normal(size=(600, 8))
    labels, batches = np.arange(600) % 3, np.arange(600) // 3 % 4
    assert silhouette_label(noise, labels) == pytest.approx(0.5, abs=0.02)
    assert bras(noise, labels, batches) > 0.95


def test_bras_sees_batches_nested_in_pairs():
    rng = np.random.default_rng(0)
    batches = np.repeat(np.arange(4), 50)
    sides = np.eye(2)[batches // 2] + 0.05 * rng.normal(size=(200, 2))
    one = np.zeros(200, int)
    assert silhouette_batch(sides, one, batches) > 0.7
    assert bras(sides, one, batches) < 0.4


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("point", [np.full(5, 0.1), [1e-3, 0.7, -3.3, 1e4, 0.123]])
def test_a_constant_embedding_mixes_best_and_separates_nothing(metric, point):
    embedding = np.tile(point, (60, 1))
    labels, batches = np.arange(60) % 3, np.arange(60) // 3 % 4
    assert silhouette_label(embedding, labels, metric=metric) == 0.5
    assert silhouette_batch(embedding, labels, batches, metric=metric) == 1
    assert bras(embedding, labels, batches) == 1
    assert bras(np.arange(1, 61)[:, None] * embedding, labels, batches) == 1
    assert np.isnan(principal_component_regression(embedding, batches))


def test_duplicated_rows_lie_at_distance_zero():
    rng = np.random.default_rng(0)
    places = rng.normal(size=(2, 7)) * 1e3
    embedding = places[[0, 0, 0, 0, 1, 1]]
    groups = np.array([0, 0, 1, 1, 2, 2])
    for metric in METRICS:
        found = silhouette_samples(embedding, groups, metric=metric)
        np.testing.assert_array_equal(found, [0, 0, 0, 0, 1, 1])


def test_silhouettes_of_single_items_and_of_one_group():
    embedding, labels, batches = planted(0)
    labels[labels == 0] = 1
    labels[0] = 0
    assert silhouette_samples(embedding, labels)[0] == 0
    assert np.isnan(silhouette_label(embedding, np.zeros(90)))
    assert np.isnan(silhouette_batch(embedding, labels, np.zeros(90)))
    assert np.isnan(bras(embedding, np.arange(90), batches))
    assert bras(embedding, labels, batches) == pytest.approx(naive_bras(embedding, labels, batches))


def test_size_overflows_nothing():
    embedding, labels, _ = planted(0)
    for size in [1e-300, 1e300]:
        for metric in METRICS:
            found = silhouette_label(embedding * size, labels, metric=metric)
            assert found == pytest.approx(silhouette_label(embedding, labels, metric=metric))


def naive_lisi(indices, distances, groups, perplexity):
    result = []
    for near, distance in zip(indices, distances, strict=True):

        def weights(log_beta, distance=distance):
            weight = np.exp(-np.exp(log_beta) * (distance - distance.min()))
            return weight / weight.sum()

        def excess(log_beta, weights=weights):
            weight = weights(log_beta)
            return -(weight[weight > 0] * np.log(weight[weight > 0])).sum() - np.log(perplexity)

        weight = weights(brentq(excess, -20, 20, xtol=1e-13))
        result.append(1 / sum(weight[groups[near] == g].sum() ** 2 for g in np.unique(groups)))
    return np.array(result)


@pytest.mark.parametrize("rows", BLOCKS)
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e6])
def test_lisi_equals_a_loop_whatever_the_block_and_unit(rows, unit):
    embedding, labels, batches = planted(1)
    indices, distances = neighbours(embedding, 30)
    for groups in (labels, batches):
        found = lisi(indices, distances * unit, groups, rows=rows)
        wanted = naive_lisi(indices, distances, groups, 10)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_lisi_at_its_ends():
    corners = np.repeat(np.eye(3), 40, axis=0) + 1e-3 * np.random.default_rng(0).normal(
        size=(120, 3)
    )
    labels = np.repeat(np.arange(3), 40)
    index = lisi(*neighbours(corners, 30), labels)
    np.testing.assert_allclose(index, 1)
    assert clisi(index, labels) == 1
    assert ilisi(index, labels) == 0
    assert np.isnan(ilisi(index, np.zeros(120)))
    assert np.isnan(clisi(index, np.zeros(120)))


def test_lisi_of_neighbours_at_random_and_of_ties():
    rng = np.random.default_rng(0)
    items, k = 4000, 40
    groups = rng.choice(3, items, p=[0.5, 0.3, 0.2])
    indices = (np.arange(items)[:, None] + rng.integers(1, items, (items, k))) % items
    index = lisi(indices, np.ones((items, k)), groups)
    # Of k draws with equal weights, the squared shares exceed those of the whole by their variance.
    whole = np.mean(groups[:, None] == groups)
    assert (1 / index).mean() == pytest.approx(whole + (1 - whole) / k, abs=0.005)
    counts = np.stack([(groups[indices] == g).sum(1) for g in range(3)], 1)
    np.testing.assert_allclose(index, 1 / ((counts / k) ** 2).sum(1))
    # More perplexity than neighbours: all count alike.
    np.testing.assert_allclose(lisi(indices, rng.random((items, k)), groups, perplexity=99), index)


def test_lisi_of_wrong_arguments():
    indices, distances = neighbours(planted(0)[0], 5)
    groups = np.arange(90) % 2
    with pytest.raises(ValueError, match="finite and of shape"):
        lisi(indices, distances[:, 1:], groups)
    with pytest.raises(ValueError, match="finite and of shape"):
        lisi(indices, np.where(distances > 1, np.nan, distances), groups)
    with pytest.raises(ValueError, match="perplexity must be at least 1"):
        lisi(indices, distances, groups, perplexity=0.5)
    with pytest.raises(ValueError, match="one entry for each of 90 items"):
        lisi(indices, distances, groups[1:])
    with pytest.raises(ValueError, match="rows must be at least 1"):
        lisi(indices, distances, groups, rows=0)


def naive_kbet(indices, labels, batches, alpha=0.05):
    rates, items = [], 0
    for label in np.unique(labels):
        inside = batches[labels == label]
        names, sizes = np.unique(inside, return_counts=True)
        if len(inside) < 10 or len(names) < 2:
            continue
        k0 = min(70, max(10, int(np.mean(sizes) // 4)))
        accepted = []
        for i in np.flatnonzero(labels == label):
            near = [j for j in indices[i] if labels[j] == label][:k0]
            if len(near) >= 10:
                observed = [(batches[near] == name).sum() for name in names]
                test = chisquare(observed, sizes / sizes.sum() * len(near))
                accepted.append(test.pvalue >= alpha)
        if len(accepted) >= 0.75 * len(inside):
            rates.append(np.mean(accepted))
            items += len(accepted)
    return np.mean(rates), len(rates), items


@pytest.mark.parametrize("seed", range(3))
def test_kbet_equals_a_loop(seed):
    embedding, labels, batches = planted(seed, label_effect=1, items=150)
    indices, _ = neighbours(embedding, 30)
    found = kbet(indices, labels, batches)
    score, tested, items = naive_kbet(indices, labels, batches)
    assert (found.labels, found.items) == (tested, items)
    assert found.items < 150
    assert found.score == pytest.approx(score)


def test_kbet_at_its_ends():
    rng = np.random.default_rng(0)
    labels, batches = np.arange(1200) % 2, np.arange(1200) // 2 % 3
    mixed = rng.normal(size=(1200, 4)) + 20 * labels[:, None]
    indices, _ = neighbours(mixed, 60)
    assert kbet(indices, labels, batches).score == pytest.approx(0.95, abs=0.03)
    indices, _ = neighbours(mixed + 200 * batches[:, None], 60)
    found = kbet(indices, labels, batches)
    assert found.score == 0
    assert (found.labels, found.items) == (2, 1200)


def test_kbet_leaves_out_what_it_cannot_test():
    indices, _ = neighbours(planted(0)[0], 20)
    nothing = kbet(indices, np.zeros(90), np.zeros(90))
    assert np.isnan(nothing.score)
    assert (nothing.labels, nothing.items) == (0, 0)
    assert np.isnan(kbet(indices, np.arange(90), np.arange(90) % 2).score)
    assert np.isnan(kbet(indices[:, :9], np.zeros(90), np.arange(90) % 2).score)
    # Of 20 neighbours at random some 10 share the label of an item, too few for half of the items.
    ring = (
        np.arange(1000)[:, None] + np.random.default_rng(0).integers(1, 1000, (1000, 20))
    ) % 1000
    assert kbet(ring, np.arange(1000) // 500, np.arange(1000) % 2).labels == 0
    with pytest.raises(ValueError, match="alpha"):
        kbet(indices, np.zeros(90), np.zeros(90), alpha=1)


@pytest.mark.parametrize("seed", range(3))
def test_graph_connectivity_equals_a_loop(seed):
    embedding, labels, _ = planted(seed, label_effect=0.5)
    indices, _ = neighbours(embedding, 3)
    graph = np.zeros((90, 90))
    graph[np.arange(90)[:, None], indices] = 1
    shares = []
    for label in range(3):
        inside = labels == label
        _, part = connected_components(csr_array(graph[inside][:, inside]), directed=False)
        shares.append(np.bincount(part).max() / inside.sum())
    assert min(shares) < 1
    assert graph_connectivity(indices, labels) == pytest.approx(np.mean(shares))


def test_graph_connectivity_at_its_ends():
    ring = (np.arange(12)[:, None] + [1, 2]) % 12
    assert graph_connectivity(ring, np.zeros(12)) == 1
    assert graph_connectivity(ring, np.arange(12)) == 1
    # Every third item has a label of its own and no neighbour with it.
    assert graph_connectivity(ring, np.arange(12) % 3) == 0.25


@pytest.mark.parametrize("components", [None, 1, 3, 6, 50])
def test_regression_on_principal_components_equals_scikit_learn(components):
    for seed in range(3):
        embedding, _, batches = planted(seed)
        pca = PCA(min(components or 6, 6), svd_solver="full")
        scores = pca.fit_transform(embedding)
        design = np.eye(4)[batches][:, 1:]  # of full rank: scikit-learn 1.5 fits no other exactly
        explained = [LinearRegression().fit(design, s).score(design, s) for s in scores.T]
        wanted = (pca.explained_variance_ * explained).sum() / pca.explained_variance_.sum()
        found = principal_component_regression(embedding, batches, components=components)
        assert found == pytest.approx(wanted, abs=1e-12)


def test_regression_on_principal_components_at_its_ends():
    rng = np.random.default_rng(0)
    batches = np.arange(80) % 5
    places = rng.normal(size=(5, 3))
    assert principal_component_regression(places[batches], batches) == pytest.approx(1)
    assert principal_component_regression(places[np.arange(80) // 5 % 4], batches) == pytest.approx(
        0
    )
    assert principal_component_regression(places[batches], np.zeros(80)) == pytest.approx(0)
    permuted = [
        principal_component_regression(places[batches], rng.permutation(batches))
        for _ in range(300)
    ]
    assert np.mean(permuted) == pytest.approx(4 / 79, abs=0.005)
    with pytest.raises(ValueError, match="components"):
        principal_component_regression(places, np.arange(5), components=0)


def scores(embedding, labels, batches, k=30):
    return mixing(embedding, labels, batches, *neighbours(embedding, k))


def test_noise_mixes_and_keeps_nothing_and_the_text_says_so():
    rng = np.random.default_rng(0)
    labels, batches = np.arange(600) % 3, np.arange(600) // 3 % 4
    biology = 6 * np.eye(3)[labels] + 0.3 * rng.normal(size=(600, 3))
    noise = scores(rng.normal(size=(600, 3)), labels, batches, k=60)
    good = scores(biology, labels, batches, k=60)
    technical = np.c_[biology, 20 * np.eye(4)[batches]] + 0.3 * rng.normal(size=(600, 7))
    shortcut = scores(technical, labels, batches, k=60)
    for name in ("BRAS", "batch ASW", "iLISI", "kBET", "1 − PCR"):
        assert noise.batch[name] == pytest.approx(good.batch[name], abs=0.1)
        assert shortcut.batch[name] < good.batch[name] - 0.3
    for name in good.biology:
        assert good.biology[name] > noise.biology[name] + 0.4
    assert noise.biology["label ASW"] == pytest.approx(0.5, abs=0.02)
    assert noise.refusal is None
    text = str(noise)
    assert "bio-conservation: label ASW" in text
    assert "mixes best by construction" in text
    assert "No batch correction" not in text


def test_text_of_a_refused_pair():
    text = str(Mixing({"BRAS": float("nan")}, {"cLISI": 0.5}, "Refused."))
    assert text.startswith(
        "Refused.\nbatch mixing: BRAS undefined\nbio-conservation: cLISI 0.500\n"
    )


def test_a_pair_of_a_confounded_design_is_refused():
    embedding, labels, _ = planted(0)
    found = scores(embedding, labels, labels % 2)
    assert found.refusal is not None
    assert np.isnan(found.batch["BRAS"])
    assert str(found).startswith(
        "Batch correction cannot be assessed: every label occurs in only one"
    )


def test_a_pair_of_a_constant_embedding():
    labels, batches = np.arange(60) % 3, np.arange(60) // 3 % 4
    ring = (np.arange(60)[:, None] + np.arange(1, 31)) % 60
    found = mixing(np.ones((60, 4)), labels, batches, ring, np.zeros((60, 30)))
    assert found.batch["BRAS"] == 1
    assert found.biology["label ASW"] == 0.5
    assert found.biology["cLISI"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "batches", "words"),
    [
        ("aabb", "xxyy", "every label occurs in only one batch"),
        ("aabbcc", "xxyyyy", "every label occurs in only one batch"),
        ("aabb", "wxyz", "every batch has only one label"),
        ("aabb", "xxxx", "only one batch"),
        ("aaaa", "xxyy", "only one label"),
        ("aabb", "xyxy", None),
        ("aabbc", "xyxyx", None),
    ],
)
def test_designs_that_cannot_tell_batch_from_biology(labels, batches, words):
    refused = design_refusal(np.array(list(labels)), np.array(list(batches)))
    assert refused is None if words is None else words in refused


def test_wrong_arguments():
    embedding, labels, batches = planted(0)
    broken = embedding.copy()
    broken[3, 2] = np.nan
    for call in (
        lambda: silhouette_label(broken, labels),
        lambda: bras(broken, np.zeros(90), batches),
        lambda: principal_component_regression(broken, batches),
    ):
        with pytest.raises(ValueError, match=r"NaN or infinite numbers in 1 of .* rows"):
            call()
    with pytest.raises(ValueError, match="matrix"):
        silhouette_label(embedding[0], labels)
    with pytest.raises(ValueError, match="one entry for each of 90"):
        silhouette_batch(embedding, labels, batches[1:])
    with pytest.raises(ValueError, match=r"row .* of embedding is all zeros"):
        silhouette_label(np.where(labels[:, None] == 0, 0, embedding), labels)
    with pytest.raises(ValueError, match="metric"):
        silhouette_label(embedding, labels, metric="manhattan")
    indices, _ = neighbours(embedding, 5)
    for wrong, words in [
        (indices.astype(float), "integers"),
        (indices - 90, "between 0 and 89"),
        (indices + 90, "between 0 and 89"),
        (np.c_[np.arange(90), indices], "its own neighbour"),
        (indices[:, :0], "non-empty"),
    ]:
        with pytest.raises(ValueError, match=words):
            graph_connectivity(wrong, labels)


def test_scores_equal_scib_metrics():
    scib = pytest.importorskip("scib_metrics", reason="scib-metrics is not installed")
    from scib_metrics.nearest_neighbors import NeighborsResults

    embedding, labels, batches = planted(0)
    indices, distances = neighbours(embedding, 30)
    near = NeighborsResults(indices=indices, distances=distances)
    for ours, theirs in [
        (bras(embedding, labels, batches), scib.bras(embedding, labels, batches)),
        (
            silhouette_label(embedding, labels, metric="euclidean"),
            scib.silhouette_label(embedding, labels),
        ),
        (
            silhouette_batch(embedding, labels, batches, metric="euclidean"),
            scib.silhouette_batch(embedding, labels, batches),
        ),
        (ilisi(lisi(indices, distances, batches), batches), scib.ilisi_knn(near, batches)),
        (clisi(lisi(indices, distances, labels), labels), scib.clisi_knn(near, labels)),
        (
            principal_component_regression(embedding, batches),
            scib.utils.principal_component_regression(embedding, batches, categorical=True),
        ),
    ]:
        assert ours == pytest.approx(float(theirs), abs=1e-4)
