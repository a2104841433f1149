"""Exact nearest neighbours within one matrix, screened in float32 and settled in float64."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[Any]
Metric = Literal["cosine", "euclidean"]
ENTRIES = 2**22
"""Scores held at once; a block is this many, or one row."""
TIE_BITS = 40


def nearest_neighbours(
    rows: Array,
    k: int,
    *,
    metric: Metric = "cosine",
    exclude: Array | None = None,
    entries: int = ENTRIES,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the k nearest other rows of every row.

    Distances that agree to 40 bits are ties, and of these the lower index comes first. Scores of a
    block in float32 only choose candidates, with a bound on their rounding, so that the result is
    that of float64 throughout. Very many items at nearly one distance make for many candidates.

    Parameters
    ----------
    rows
        `(N, D)`, finite.
    k
        From 1 to the number of items that the row with the fewest may have as neighbours.
    metric
        Cosine distance is 1 − cosine, in [0, 2].
    exclude
        `(N,)` labels, such as plates: no neighbour shares that of the query.
    entries
        Scores held at once, of 4 bytes each.

    Returns
    -------
    indices, distances
        `(N, k)` each, nearest first.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, rows of zeros under cosine, and a
        k that some row cannot have.
    """
    points, unit = _points(_finite(rows), metric)
    groups = _groups(exclude, len(points))
    _check_k(k, groups)
    # Distances do not change with the origin, but float32 resolves more near it.
    centred = points - points.mean(0)
    centred /= max(float(np.abs(centred).max(initial=0)), np.finfo(float).tiny)
    screen = centred.astype(np.float32)
    del centred
    bias = np.einsum("ij,ij->i", screen, screen) / 2
    indices = np.empty((len(points), k), np.int64)
    squares = np.empty((len(points), k))
    step = max(1, entries // len(points))
    for start in range(0, len(points), step):
        block = slice(start, min(start + step, len(points)))
        query, candidate = _candidates(screen, bias, groups, block, k)
        indices[block], squares[block] = _settle(points, query, candidate, k)
    return indices, squares / 2 if metric == "cosine" else np.sqrt(squares) * unit


def _finite(rows: Array) -> Array:
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"rows must be a filled (N, D) matrix, not of shape {rows.shape}")
    values = rows.astype(np.float64)
    wrong = ~np.isfinite(values).all(1)
    if wrong.any():
        raise ValueError(f"row {int(wrong.argmax())} holds a value that is not finite")
    return values


def _points(values: Array, metric: str) -> tuple[Array, float]:
    """Return points whose Euclidean distances order the neighbours, and their unit of length.

    Cosine distance is half the square of the distance between directions.
    """
    if metric == "euclidean":
        unit = 2.0 ** int(np.frexp(np.abs(values).max())[1])  # exact to divide by
        return values / unit, unit
    if metric != "cosine":
        raise ValueError(f"metric must be 'cosine' or 'euclidean', not {metric!r}")
    largest = np.abs(values).max(1, keepdims=True)
    if not largest.all():
        row = int(largest.argmin())
        raise ValueError(f"row {row} is all zeros and has no direction for a cosine")
    values /= largest
    return values / np.linalg.norm(values, axis=1, keepdims=True), 1.0


def _groups(exclude: Array | None, items: int) -> Array:
    if exclude is None:
        return np.arange(items, dtype=np.int32)
    if np.shape(exclude) != (items,):
        raise ValueError(f"exclude must hold {items} labels, not {np.shape(exclude)}")
    codes, _ = pd.factorize(np.asarray(exclude))
    if (codes < 0).any():
        raise ValueError(f"item {int((codes < 0).argmax())} has no label to exclude by")
    return codes.astype(np.int32)


def _check_k(k: int, groups: Array) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    available = len(groups) - np.bincount(groups)[groups]
    fewest = int(available.argmin())
    if k > available[fewest]:
        left = int(available[fewest])
        raise ValueError(f"item {fewest} has {left} possible neighbours, fewer than k = {k}")


def _candidates(
    screen: Array, bias: Array, groups: Array, block: slice, k: int
) -> tuple[Array, Array]:
    """Pair the queries of a block with all items that could be among their k nearest."""
    score = screen[block] @ screen.T
    score -= bias
    score[groups[block, None] == groups] = -np.inf
    error = _score_error(screen, bias, block)
    reached = _low_kth_largest(score, k) - 2 * error
    floor = np.finfo(np.float32).min  # keeps out those that were excluded
    query, candidate = np.nonzero(score >= np.maximum(reached, floor)[:, None])
    return query + block.start, candidate


def _score_error(screen: Array, bias: Array, block: slice) -> Array:
    """Bound the rounding of scores by that of inner products, casts included, in float32."""
    longest = np.sqrt(2 * float(bias.max()))
    size = np.sqrt(2 * bias[block].astype(np.float64)) * longest + longest**2
    return (screen.shape[1] + 8) * 2.0**-23 * size + 1e-30


def _low_kth_largest(score: Array, k: int) -> Array:
    """Return, for each row, a value that at least k entries reach, and seldom many more.

    The maxima of disjoint parts belong to different entries, and are far fewer to sort.
    """
    rows, items = score.shape
    parts = max(8 * k, 1024)
    depth = items // parts
    if depth > 1:
        whole = score[:, : depth * parts].reshape(rows, depth, parts).max(1)
        score = np.concatenate([whole, score[:, depth * parts :]], axis=1)
    return np.partition(score, score.shape[1] - k, axis=1)[:, -k].astype(np.float64)


def _settle(points: Array, query: Array, candidate: Array, k: int) -> tuple[Array, Array]:
    """Keep the k nearest candidates of each query; queries come sorted."""
    squares = _squared_distances(points, query, candidate)
    mantissa, exponent = np.frexp(squares)
    coarse = np.ldexp(np.rint(np.ldexp(mantissa, TIE_BITS)), exponent - TIE_BITS)
    order = np.lexsort([candidate, coarse, query])
    first = np.flatnonzero(np.diff(query, prepend=-1))
    kept = order[first[:, None] + np.arange(k)]
    return candidate[kept], squares[kept]


def _squared_distances(points: Array, left: Array, right: Array) -> Array:
    step = max(1, 2**21 // points.shape[1])
    squares = np.empty(len(left))
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        apart = points[left[part]] - points[right[part]]
        squares[part] = np.einsum("ij,ij->i", apart, apart)
    return squares
