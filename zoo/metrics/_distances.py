"""Distances, group codes and neighbour indices shared by several metrics."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._blocks import blocks_of
from ._matrix import check_matrix, unit_rows

Array = NDArray[Any]
Metric = Literal["cosine", "euclidean"]

# Squared distances below this fraction of their terms are rounding errors, and so are those
# between directions below the square of the resolution of float64.
CANCELLED = 1e-14
UNRESOLVED = 1e-28


def points(embedding: Array, metric: Metric) -> NDArray[np.float64]:
    """Centred points: their squared distances are twice the cosine distance, or scaled Euclidean.

    Centring preserves the precision of an embedding with a large mean. If all rows are equal they
    become exact zeros.

    Parameters
    ----------
    embedding
        `(N, D)`, finite; no rows of zeros under cosine.
    """
    rows = check_matrix(embedding)
    if metric == "cosine":
        located = unit_rows(rows, zeros="refuse")
    elif metric == "euclidean":
        located = rows.astype(np.float64)
        # A power of two is exact, and no square overflows.
        located = np.ldexp(located, -int(np.frexp(np.abs(located).max())[1]) - 1)
    else:
        raise ValueError(f"metric must be 'cosine' or 'euclidean', not {metric!r}")
    # The mean of equal rows can differ from them by rounding; their difference cannot.
    located -= located[0].copy()
    located -= located.mean(0)
    return located


def distances_between(a: Array, b: Array, metric: Metric) -> NDArray[np.float64]:
    """Distances `(len(a), len(b))` between rows of `points`, in the same unit."""
    sizes = (a**2).sum(1)[:, None] + (b**2).sum(1)
    return from_squares(sizes - 2 * a @ b.T, sizes, metric)


def from_squares(squares: Array, sizes: Array, metric: Metric) -> NDArray[np.float64]:
    floor = CANCELLED * sizes
    if metric == "cosine":
        floor = np.maximum(floor, UNRESOLVED)
    squares = np.where(squares > floor, squares, 0.0)
    return squares / 2 if metric == "cosine" else np.sqrt(squares)


def distance_sums(
    located: Array, codes: Array, metric: Metric, rows: int
) -> Iterator[tuple[slice, Array]]:
    """Yield blocks of items and the sums of their distances to the items of each group."""
    groups = int(codes.max()) + 1
    sizes = np.bincount(codes).astype(float)
    if metric == "cosine":
        squared = (located**2).sum(1)
        totals, squared_totals = sums_by_code(located, codes), np.bincount(codes, squared)
        for block in blocks_of(len(located), rows):
            scale = squared[block, None] * sizes + squared_totals
            # The floor applies to means, so that it does not depend on the size of a group.
            sums = scale - 2 * located[block] @ totals.T
            yield block, from_squares(sums / sizes, scale / sizes, metric) * sizes
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


def tally(codes: Array, count: int, weights: Array) -> NDArray[np.float64]:
    """Sum weights `(n, k)` by the codes of their row into `(n, count)`."""
    flat = codes + count * np.arange(len(codes))[:, None]
    sums: Array = np.bincount(flat.ravel(), weights.ravel(), minlength=len(codes) * count)
    return sums.reshape(len(codes), count)


def sums_by_code(rows: Array, codes: Array) -> NDArray[np.float64]:
    order = np.argsort(codes, kind="stable")
    first = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    return np.add.reduceat(rows[order], first, axis=0)


def members_of(codes: Array) -> list[Array]:
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.bincount(codes).cumsum()[:-1])


def codes_of(groups: Array, items: int, name: str) -> NDArray[np.intp]:
    if np.shape(groups) != (items,) or items == 0:
        raise ValueError(f"{name} must have one entry for each of {items} items")
    return np.unique(groups, return_inverse=True)[1].astype(np.intp)


def neighbours_of(indices: Array, k: int | None = None) -> NDArray[np.intp]:
    """Check indices of neighbours, and return the k nearest; by default all."""
    near = np.asarray(indices)
    if near.ndim != 2 or 0 in near.shape or near.dtype.kind not in "iu":
        raise ValueError("indices must be a non-empty (N, k) matrix of integers")
    if near.min() < 0 or near.max() >= len(near):
        raise ValueError(f"indices must be between 0 and {len(near) - 1}")
    if (near == np.arange(len(near))[:, None]).any():
        raise ValueError("indices list an item as its own neighbour")
    k = near.shape[1] if k is None else k
    if not 1 <= k <= near.shape[1]:
        raise ValueError(f"k must be between 1 and the {near.shape[1]} given neighbours, not {k}")
    return near[:, :k].astype(np.intp, copy=False)
