"""Batch mixing and conservation of biology, which are only ever read as a pair."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import chdtrc

Array = NDArray[Any]
Metric = Literal["cosine", "euclidean"]
Between = Literal["nearest", "mean_other"]
ROWS = 1024
"""Items of a block; distances are held for this many times as many."""
# Squares that cancel to less than this share of what they came from are rounding, and so are
# squared distances between directions below the square of what float64 resolves.
CANCELLED = 1e-14
UNRESOLVED = 1e-28
MIN_NEIGHBOURS = 10
MIN_TESTED = 0.75


@dataclass(frozen=True)
class Acceptance:
    """kBET acceptance rate.

    Parameters
    ----------
    score
        Mean over the tested labels of the share of accepted items, in [0, 1]; NaN for no label.
    labels, items
        How many labels and items were tested.
    """

    score: float
    labels: int
    items: int


@dataclass(frozen=True)
class Mixing:
    """Scores of batch mixing and of conservation, with no total and no half without the other.

    Parameters
    ----------
    batch
        Scores of mixing, higher is more mixed; NaN where undefined.
    biology
        Scores of conservation, higher is better kept; NaN where undefined.
    refused
        Why nothing may be said of batch correction, or None.
    """

    batch: Mapping[str, float]
    biology: Mapping[str, float]
    refused: str | None

    def __str__(self) -> str:
        lines = [
            f"batches mixed: {_listed(self.batch)}",
            f"biology kept: {_listed(self.biology)}",
            "A constant or noise embedding mixes best by construction: "
            "mixing counts only beside the biology that is kept.",
        ]
        return "\n".join(lines if self.refused is None else [self.refused, *lines])


def mixing(
    embedding: Array,
    labels: Array,
    batches: Array,
    indices: Array,
    distances: Array,
    *,
    metric: Metric = "cosine",
    rows: int = ROWS,
) -> Mixing:
    """Score how well batches mix together with how well labels are kept.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    labels, batches
        `(N,)`.
    indices, distances
        `(N, k)` nearest other items of each item, nearest first.
    metric
        For the silhouettes, except that BRAS is always by cosine.
    """
    batch = {
        "BRAS": bras(embedding, labels, batches, rows=rows),
        "batch ASW": silhouette_batch(embedding, labels, batches, metric=metric, rows=rows),
        "iLISI": ilisi(lisi(indices, distances, batches, rows=rows), batches),
        "kBET": kbet(indices, labels, batches).score,
        "graph connectivity": graph_connectivity(indices, labels),
        "1 − PCR": 1 - principal_component_regression(embedding, batches),
    }
    biology = {
        "label ASW": silhouette_label(embedding, labels, metric=metric, rows=rows),
        "cLISI": clisi(lisi(indices, distances, labels, rows=rows), labels),
    }
    return Mixing(batch, biology, confounding(labels, batches))


def confounding(labels: Array, batches: Array) -> str | None:
    """Say why this design cannot tell batch from biology, or None if it can.

    It can where some label occurs in several batches and some batch holds several labels. What is
    refused is refused for every embedding.
    """
    label, batch = (
        codes_of(labels, len(labels), "labels"),
        codes_of(batches, len(labels), "batches"),
    )
    present = np.zeros((label.max() + 1, batch.max() + 1), bool)
    present[label, batch] = True
    refusal = "No batch correction can be claimed: "
    if present.shape[1] == 1:
        return refusal + "there is one batch only, and nothing to mix."
    if present.shape[0] == 1:
        return refusal + "there is one label only, so that no conservation can stand beside it."
    if (present.sum(1) == 1).all():
        return refusal + "every label lies in one batch, so that mixing would also mix the labels."
    if (present.sum(0) == 1).all():
        return refusal + "every batch holds one label, so that labels may be apart as batches are."
    return None


def silhouette_samples(
    embedding: Array,
    groups: Array,
    *,
    metric: Metric = "cosine",
    between: Between = "nearest",
    rows: int = ROWS,
) -> NDArray[np.float64]:
    """Silhouette (b − a)/max(a, b) of every item, in [−1, 1].

    a is the mean distance to the other items of the group; b that to the nearest other group
    ("nearest"), or to all items of other groups ("mean_other"). 0 where an item is alone in its
    group or coincides with both sides; NaN for one group. Cosine takes the time of N·G products
    for G groups, Euclidean that of N².

    Parameters
    ----------
    embedding
        `(N, D)`, finite; no rows of zeros under cosine.
    groups
        `(N,)`.
    metric
        Cosine distance is 1 − cosine.
    rows
        Items of a block, which bounds the memory and leaves the result as it is.
    """
    located = points(embedding, metric)
    codes = codes_of(groups, len(located), "groups")
    sizes = np.bincount(codes).astype(float)
    if len(sizes) < 2:
        return np.full(len(located), np.nan)
    silhouette = np.empty(len(located))
    for block, sums in _distance_sums(located, codes, metric, rows):
        own = codes[block]
        item = np.arange(len(own))
        within = sums[item, own] / np.maximum(sizes[own] - 1, 1)
        sums[item, own] = 0
        if between == "nearest":
            means = sums / sizes
            means[item, own] = np.inf
            beyond = means.min(1)
        else:
            beyond = sums.sum(1) / (sizes.sum() - sizes[own])
        larger = np.maximum(within, beyond)
        usable = (larger > 0) & (sizes[own] > 1)
        silhouette[block] = np.where(
            usable, (beyond - within) / np.where(larger > 0, larger, 1.0), 0.0
        )
    return silhouette


def silhouette_label(
    embedding: Array, labels: Array, *, metric: Metric = "cosine", rows: int = ROWS
) -> float:
    """Mean silhouette of labels as (s + 1)/2, in [0, 1]; 0.5 is chance; NaN for one label.

    scIB (Luecken et al. 2022) takes the Euclidean metric.
    """
    samples = silhouette_samples(embedding, labels, metric=metric, rows=rows)
    return float((samples.mean() + 1) / 2)


def silhouette_batch(
    embedding: Array,
    labels: Array,
    batches: Array,
    *,
    metric: Metric = "cosine",
    between: Between = "nearest",
    rows: int = ROWS,
) -> float:
    """Mean over labels of the mean 1 − |silhouette of batches within the label|, in [0, 1].

    1 is mixed. Labels of one batch, or of as many batches as items, are left out; NaN if that
    leaves none. scIB (Luecken et al. 2022) takes the Euclidean metric.
    """
    label = codes_of(labels, len(embedding), "labels")
    batch = codes_of(batches, len(embedding), "batches")
    scores = []
    for members in members_of(label):
        present = len(np.unique(batch[members]))
        if 1 < present < len(members):
            samples = silhouette_samples(
                embedding[members], batch[members], metric=metric, between=between, rows=rows
            )
            scores.append(float((1 - np.abs(samples)).mean()))
    return float(np.mean(scores)) if scores else float("nan")


def bras(embedding: Array, labels: Array, batches: Array, *, rows: int = ROWS) -> float:
    """Batch removal adapted silhouette, in [0, 1]; 1 is mixed.

    As `silhouette_batch`, with the mean distance to all other batches in place of that to the
    nearest, so that batches nested in pairs do not pass for mixed, and by cosine (Rautenstrauch and
    Ohler 2025).
    """
    return silhouette_batch(embedding, labels, batches, between="mean_other", rows=rows)


def lisi(
    indices: Array,
    distances: Array,
    groups: Array,
    *,
    perplexity: float | None = None,
    rows: int = ROWS,
) -> NDArray[np.float64]:
    """Effective number of groups around every item, from 1 to the number of groups.

    The inverse Simpson index of the neighbours' groups, weighted by exp(−β d) with β such that the
    weights have the given perplexity (Korsunsky et al. 2019). Neighbours that tie share one weight,
    so that more ties than the perplexity count alike. A multiple of all distances changes nothing.

    Parameters
    ----------
    indices, distances
        `(N, k)` nearest other items of each item.
    groups
        `(N,)`.
    perplexity
        Neighbours that effectively count; k // 3 by default.
    """
    near = neighbours_of(indices)
    if np.shape(distances) != near.shape or not np.isfinite(distances).all():
        raise ValueError(f"distances must be finite and of shape {near.shape}")
    codes = codes_of(groups, len(near), "groups")
    perplexity = max(1, near.shape[1] // 3) if perplexity is None else perplexity
    if perplexity < 1:
        raise ValueError(f"perplexity must be at least 1, not {perplexity}")
    count = int(codes.max()) + 1
    index = np.empty(len(near))
    for block in blocks_of(len(near), rows):
        weights = _weights(distances[block].astype(np.float64), perplexity)
        shares = _tally(codes[near[block]], count, weights)
        index[block] = 1 / (shares**2).sum(1)
    return index


def ilisi(index: Array, batches: Array) -> float:
    """(median LISI of batches − 1)/(batches − 1): 1 is mixed, 0 apart; NaN for one batch."""
    count = len(np.unique(batches))
    return float((np.median(index) - 1) / (count - 1)) if count > 1 else float("nan")


def clisi(index: Array, labels: Array) -> float:
    """1 − (median LISI of labels − 1)/(labels − 1): 1 is apart, 0 mixed; NaN for one label.

    This is the orientation of scIB, where higher is better.
    """
    return 1 - ilisi(index, labels)


def kbet(indices: Array, labels: Array, batches: Array, *, alpha: float = 0.05) -> Acceptance:
    """Share of items whose neighbours have the batches of their label, by a χ² test at `alpha`.

    Per label as in scIB: an item's neighbours of its own label, up to the k0 = min(70, max(10,
    quarter of the mean batch)) nearest, against the batches of the label. The neighbours come from
    the given ones and not from a diffusion map. Mixed batches score about 1 − alpha. Left out are
    items with fewer than 10 neighbours of their label, and labels of fewer than 10 items, of one
    batch, or with less than three quarters of their items left, which scIB counts as rejected.

    Parameters
    ----------
    indices
        `(N, k)` nearest other items of each item, nearest first; k well above k0.
    labels, batches
        `(N,)`.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    near = neighbours_of(indices)
    label, batch = codes_of(labels, len(near), "labels"), codes_of(batches, len(near), "batches")
    rates, items = [], 0
    for members in members_of(label):
        _, own = np.unique(batch[members], return_inverse=True)
        sizes = np.bincount(own)
        if len(members) < MIN_NEIGHBOURS or len(sizes) < 2:
            continue
        wanted = min(70, max(10, int(sizes.mean() / 4)))
        place = np.full(len(near), -1)
        place[members] = own
        found = place[near[members]]
        used = (found >= 0) & ((found >= 0).cumsum(1) <= wanted)
        totals = used.sum(1)
        tested = totals >= MIN_NEIGHBOURS
        if tested.mean() < MIN_TESTED:
            continue
        observed = _tally(np.maximum(found, 0), len(sizes), used.astype(float))[tested]
        expected = totals[tested, None] * sizes / sizes.sum()
        statistic = ((observed - expected) ** 2 / expected).sum(1)
        rates.append(float((chdtrc(len(sizes) - 1, statistic) >= alpha).mean()))
        items += int(tested.sum())
    return Acceptance(float(np.mean(rates)) if rates else float("nan"), len(rates), items)


def graph_connectivity(indices: Array, labels: Array) -> float:
    """Mean over labels of the share of items in the label's largest connected part, in (0, 1].

    The graph joins an item and its neighbours of the same label, whichever is the neighbour of
    which. 1 where every label hangs together; a label with a single item counts as 1.

    Parameters
    ----------
    indices
        `(N, k)` nearest other items of each item.
    labels
        `(N,)`.
    """
    near = neighbours_of(indices)
    label = codes_of(labels, len(near), "labels")
    item, column = np.nonzero(label[near] == label[:, None])
    edges = (np.ones(len(item), np.int8), (item, near[item, column]))
    graph = coo_array(edges, shape=(len(near), len(near)))
    parts, part = connected_components(graph, directed=False)
    largest = np.zeros(label.max() + 1)
    label_of_part = np.empty(parts, np.intp)
    label_of_part[part] = label
    np.maximum.at(largest, label_of_part, np.bincount(part).astype(float))
    return float((largest / np.bincount(label)).mean())


def principal_component_regression(
    embedding: Array, batches: Array, *, components: int | None = None
) -> float:
    """Share of variance that batches explain, Σ λ_i R²(PC_i ~ batch)/Σ λ_i, in [0, 1].

    0 is no difference between the means of batches; (B − 1)/(N − 1) is the mean over permuted
    batches; NaN for a constant embedding.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    batches
        `(N,)`.
    components
        Leading principal components that count; by default all, which needs none of them.
    """
    centred = points(embedding, "euclidean")
    batch = codes_of(batches, len(centred), "batches")
    if components is not None and components < 1:
        raise ValueError(f"components must be at least 1, not {components}")
    means = _sums(centred, batch) / np.bincount(batch)[:, None]
    if components is None:
        total = (centred**2).sum()
    else:
        variances, axes = np.linalg.eigh(centred.T @ centred)
        total = variances[-components:].sum()
        means = means @ axes[:, -components:]
    explained = (np.bincount(batch) * (means**2).sum(1)).sum()
    return float(explained / total) if total > 0 else float("nan")


def points(embedding: Array, metric: Metric) -> NDArray[np.float64]:
    """Centred points whose distances, when squared, are twice cosine; or Euclidean in some unit.

    Centring keeps the digits of an embedding that hardly varies beside its size. Rows that are all
    equal become exact zeros.

    Parameters
    ----------
    embedding
        `(N, D)`, finite; no rows of zeros under cosine.
    """
    if np.ndim(embedding) != 2 or 0 in np.shape(embedding):
        raise ValueError(
            f"embedding must be a filled (N, D) matrix, not of shape {np.shape(embedding)}"
        )
    located = np.array(embedding, np.float64)
    if not np.isfinite(located).all():
        raise ValueError("embedding holds values that are not finite")
    if metric == "cosine":
        largest = np.abs(located).max(1, keepdims=True)
        if not largest.all():
            raise ValueError("embedding holds a row of zeros, which has no direction for a cosine")
        located /= largest
        located /= np.linalg.norm(located, axis=1, keepdims=True)
    elif metric == "euclidean":
        # Exact, and no square overflows.
        located = np.ldexp(located, -int(np.frexp(np.abs(located).max())[1]) - 1)
    else:
        raise ValueError(f"metric must be 'cosine' or 'euclidean', not {metric!r}")
    # The mean of equal rows may differ from them by rounding; their difference may not.
    located -= located[0].copy()
    located -= located.mean(0)
    return located


def distances_between(a: Array, b: Array, metric: Metric) -> NDArray[np.float64]:
    """Distances `(len(a), len(b))` of rows from `points`, in their unit."""
    sizes = (a**2).sum(1)[:, None] + (b**2).sum(1)
    return _distance(sizes - 2 * a @ b.T, sizes, metric)


def _distance(squares: Array, sizes: Array, metric: Metric) -> NDArray[np.float64]:
    floor = CANCELLED * sizes
    if metric == "cosine":
        floor = np.maximum(floor, UNRESOLVED)
    squares = np.where(squares > floor, squares, 0.0)
    return squares / 2 if metric == "cosine" else np.sqrt(squares)


def _distance_sums(
    located: Array, codes: Array, metric: Metric, rows: int
) -> Iterator[tuple[slice, Array]]:
    """Yield blocks of items with the sums of their distances to the items of each group."""
    groups = int(codes.max()) + 1
    sizes = np.bincount(codes).astype(float)
    if metric == "cosine":
        squared = (located**2).sum(1)
        totals, squared_totals = _sums(located, codes), np.bincount(codes, squared)
        for block in blocks_of(len(located), rows):
            scale = squared[block, None] * sizes + squared_totals
            # Means are held against the floor, so that the size of a group does not lower it.
            sums = scale - 2 * located[block] @ totals.T
            yield block, _distance(sums / sizes, scale / sizes, metric) * sizes
        return
    order = np.argsort(codes, kind="stable")
    for block in blocks_of(len(located), rows):
        sums = np.zeros((block.stop - block.start, groups))
        for others in blocks_of(len(located), rows):
            part = order[others]
            distance = distances_between(located[block], located[part], metric)
            distance[np.arange(block.start, block.stop)[:, None] == part] = 0
            present, first = np.unique(codes[part], return_index=True)
            sums[:, present] += np.add.reduceat(distance, first, axis=1)
        yield block, sums


def _weights(distances: Array, perplexity: float) -> NDArray[np.float64]:
    """Weights exp(−β d) of rows, summing to 1, with β by bisection on their entropy."""
    gaps = distances - distances.min(1, keepdims=True)
    # Entropy does not depend on the unit of distance, and β is near 1 in this one.
    unit = gaps.mean(1, keepdims=True)
    gaps /= np.where(unit > 0, unit, 1.0)
    beta = np.ones((len(gaps), 1))
    low, high = np.zeros_like(beta), np.full_like(beta, np.inf)
    wanted = np.log(perplexity)
    for _ in range(64):
        weights = np.exp(-gaps * beta)
        total = weights.sum(1, keepdims=True)
        excess = np.log(total) + beta * (gaps * weights).sum(1, keepdims=True) / total - wanted
        # Rows stop one by one, lest the company of a block decides on a row's result.
        unsettled = np.abs(excess) > 1e-9
        if not unsettled.any():
            break
        low, high = np.where(excess > 0, beta, low), np.where(excess > 0, high, beta)
        middle = np.where(np.isinf(high), 2 * low, (low + np.where(np.isinf(high), 0, high)) / 2)
        beta = np.where(unsettled, middle, beta)
    weights = np.exp(-gaps * beta)
    return weights / weights.sum(1, keepdims=True)


def _tally(codes: Array, count: int, weights: Array) -> NDArray[np.float64]:
    """Sum weights `(n, k)` by the codes of their row into `(n, count)`."""
    flat = codes + count * np.arange(len(codes))[:, None]
    sums: Array = np.bincount(flat.ravel(), weights.ravel(), minlength=len(codes) * count)
    return sums.reshape(len(codes), count)


def _sums(rows: Array, codes: Array) -> NDArray[np.float64]:
    order = np.argsort(codes, kind="stable")
    first = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    return np.add.reduceat(rows[order], first, axis=0)


def members_of(codes: Array) -> list[Array]:
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.bincount(codes).cumsum()[:-1])


def codes_of(groups: Array, items: int, name: str) -> NDArray[np.intp]:
    if np.shape(groups) != (items,) or items == 0:
        raise ValueError(f"{name} must hold one entry for each of {items} items")
    return np.unique(groups, return_inverse=True)[1].astype(np.intp)


def neighbours_of(indices: Array) -> NDArray[np.intp]:
    near = np.asarray(indices)
    if near.ndim != 2 or 0 in near.shape or near.dtype.kind not in "iu":
        raise ValueError("indices must be a filled (N, k) matrix of integers")
    if near.min() < 0 or near.max() >= len(near):
        raise ValueError(f"indices must lie from 0 to {len(near) - 1}")
    if (near == np.arange(len(near))[:, None]).any():
        raise ValueError("indices hold an item as its own neighbour")
    return near.astype(np.intp)


def blocks_of(items: int, rows: int) -> Iterator[slice]:
    if rows < 1:
        raise ValueError(f"rows must be at least 1, not {rows}")
    for start in range(0, items, rows):
        yield slice(start, min(start + rows, items))


def _listed(scores: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {'undefined' if np.isnan(score) else f'{score:.3f}'}"
        for name, score in scores.items()
    )
