"""Exact nearest neighbours: candidates selected in float32, distances computed in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._blocks import CHUNK, ENTRIES, blocks_of
from ._distances import Metric, neighbours_of
from ._matrix import check_matrix, unit_rows
from ._threads import device_of, run_in_threads
from ._torch_defaults import with_torch_defaults

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
ENTRIES_ON_GPU = 2**27
TIE_BITS = 40


def nearest_neighbours(
    embedding: Array,
    k: int,
    *,
    metric: Metric = "cosine",
    exclude: Array | None = None,
    entries: int | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Exact k nearest neighbours of every row among the other rows.

    Distances that agree to 40 bits are ties, which go to the lower index. Similarities in float32
    select candidates, with a bound on their rounding error, so that the result is that of float64
    throughout. Very many items at nearly the same distance make for many candidates.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    k
        Neighbours of each item, at most as many as every item can have.
    metric
        ``"cosine"`` is the distance 1 − cosine, in [0, 2].
    exclude
        `(N,)` labels, such as plates: no neighbour shares the label of its query.
    entries
        Similarities that a thread holds at once, of 4 bytes each.
    threads
        By default as many as NumPy's linear algebra may use.
    device
        ``"cuda"`` selects candidates on a GPU, with the same result; by default the CPU does.

    Returns
    -------
    indices, distances
        `(N, k)` each, nearest first.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, rows of zeros under cosine, and a
        `k` that some item cannot have.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import nearest_neighbours
    >>> embedding = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> indices, distances = nearest_neighbours(embedding, 2, metric="euclidean")
    >>> indices.tolist()
    [[1, 2], [0, 2], [1, 0], [2, 1]]
    >>> distances[0].tolist()
    [1.0, 3.0]
    """
    points, unit = _points(check_matrix(embedding), metric)
    groups = _groups(exclude, len(points))
    _check_k(k, groups)
    if entries is not None and entries < 1:
        raise ValueError(f"entries must be at least 1, not {entries}")
    # Distances do not depend on the origin, but float32 is more precise near it.
    centre = points.mean(0)
    screen = np.empty(points.shape, np.float32)
    far = np.zeros(points.shape[1])
    for part in blocks_of(len(points), CHUNK):
        np.maximum(far, np.abs(points[part] - centre).max(0), out=far)
    largest = max(float(far.max()), np.finfo(float).tiny)
    for part in blocks_of(len(points), CHUNK):
        screen[part] = (points[part] - centre) / largest
    bias = np.einsum("ij,ij->i", screen, screen) / 2
    indices = np.empty((len(points), k), np.int64)
    squares = np.empty((len(points), k))
    alone = exclude is None
    on = device_of(device)
    kept = None if on is None else _on_device(on, screen, bias, groups)
    entries = entries or (ENTRIES_ON_GPU if on is not None and on.type == "cuda" else ENTRIES)
    step = max(1, entries // len(points))

    def search(block: slice) -> None:
        error = _score_error(screen, bias, block)
        if kept is None:
            query, candidate = _candidates(screen, bias, groups, alone, block, k, error)
        else:
            query, candidate = _candidates_on_device(kept, block, k, error)
        indices[block], squares[block] = _keep_nearest(points, query, candidate, k)

    run_in_threads(search, blocks_of(len(points), step), 1 if on is not None else threads)
    return indices, squares / 2 if metric == "cosine" else np.sqrt(squares) * unit


def majority_vote(indices: Array, labels: Array, *, k: int | None = None) -> Array:
    """Most frequent label among the neighbours of every item.

    Of labels with equally many votes, that of the nearest neighbour wins.

    Parameters
    ----------
    indices
        `(N, ≥ k)` nearest other items of each item, nearest first.
    labels
        `(N,)`, none missing.
    k
        Neighbours that vote; by default all that are given.

    Returns
    -------
    ndarray
        `(N,)` labels.

    Raises
    ------
    ValueError
        For indices that are no neighbours, a `k` out of range, and missing labels.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import majority_vote
    >>> indices = np.array([[1, 2], [0, 2], [3, 1], [2, 1]])
    >>> majority_vote(indices, np.array(["a", "a", "b", "b"]), k=1).tolist()
    ['a', 'a', 'b', 'b']
    """
    import pandas as pd

    near = neighbours_of(indices, k)
    k = near.shape[1]
    if np.shape(labels) != (len(near),):
        raise ValueError(f"labels must have one entry for each of {len(near)} items")
    codes, names = pd.factorize(np.asarray(labels))
    if (codes < 0).any():
        raise ValueError(f"item {int((codes < 0).argmax())} has no label")
    winner = np.empty(len(near), np.intp)
    for part in blocks_of(len(near), CHUNK):
        voted = codes[near[part]]
        order = np.argsort(voted, axis=1, kind="stable")
        ranked = np.take_along_axis(voted, order, 1)
        # A run of equal labels has their votes, and starts with the nearest of them.
        place = np.broadcast_to(np.arange(k), ranked.shape)
        begins = np.ones(ranked.shape, bool)
        begins[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
        start = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
        votes = place - start + 1
        nearest = np.take_along_axis(order, start, 1)
        best = (votes * (k + 1) - nearest).argmax(1)
        winner[part] = ranked[np.arange(len(ranked)), best]
    return np.asarray(names)[winner]


def _points(values: Array, metric: str) -> tuple[Array, float]:
    """Points whose Euclidean distances order the neighbours, and their unit of length.

    Cosine distance is half the square of the distance between directions.
    """
    if metric == "euclidean":
        values = values.astype(np.float64)
        unit = 2.0 ** int(np.frexp(np.abs(values).max())[1])  # exact to divide by
        return values / unit, unit
    if metric != "cosine":
        raise ValueError(f"metric must be 'cosine' or 'euclidean', not {metric!r}")
    return unit_rows(values, zeros="refuse"), 1.0


def _groups(exclude: Array | None, items: int) -> Array:
    import pandas as pd

    if exclude is None:
        return np.arange(items, dtype=np.int32)
    if np.shape(exclude) != (items,):
        raise ValueError(f"exclude must have {items} labels, not shape {np.shape(exclude)}")
    codes, _ = pd.factorize(np.asarray(exclude))
    if (codes < 0).any():
        raise ValueError(f"item {int((codes < 0).argmax())} has no label in exclude")
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
    screen: Array, bias: Array, groups: Array, alone: bool, block: slice, k: int, error: Array
) -> tuple[Array, Array]:
    """All pairs of a query in the block and an item that could be among its k nearest."""
    score = screen[block] @ screen.T
    score -= bias
    if alone:
        score[np.arange(len(score)), np.arange(block.start, block.stop)] = -np.inf
    else:
        score[groups[block, None] == groups] = -np.inf
    reached = _low_kth_largest(score, k) - 2 * error
    reached = np.nextafter(reached.astype(np.float32), np.float32(-np.inf))
    floor = np.finfo(np.float32).min  # leaves out what was excluded
    kept = score >= np.maximum(reached, floor)[:, None]
    query, candidate = np.divmod(np.flatnonzero(kept), score.shape[1])
    return query + block.start, candidate


def _on_device(device: torch.device, *arrays: Array) -> tuple[torch.Tensor, ...]:
    import torch

    return tuple(torch.from_numpy(array).to(device) for array in arrays)


@with_torch_defaults  # products in full precision, which the bound on rounding assumes
def _candidates_on_device(
    kept: tuple[torch.Tensor, ...], block: slice, k: int, error: Array
) -> tuple[Array, Array]:
    import torch

    screen, bias, groups = kept
    score = screen[block] @ screen.T
    score -= bias
    score.masked_fill_(groups[block, None] == groups, -torch.inf)
    reached = score.topk(k, dim=1).values[:, -1].double()
    reached -= torch.from_numpy(2 * error).to(score.device)
    lower = torch.nextafter(reached.float(), torch.tensor(-torch.inf, device=score.device))
    near = score >= lower.clamp(min=torch.finfo(torch.float32).min)[:, None]
    query, candidate = near.nonzero(as_tuple=True)
    return query.cpu().numpy() + block.start, candidate.cpu().numpy()


def _score_error(screen: Array, bias: Array, block: slice) -> Array:
    """Bound on the rounding error of scores: float32 inner products, casts included."""
    longest = np.sqrt(2 * float(bias.max()))
    size = np.sqrt(2 * bias[block].astype(np.float64)) * longest + longest**2
    return (screen.shape[1] + 8) * 2.0**-23 * size + 1e-30


def _low_kth_largest(score: Array, k: int) -> Array:
    """Return, for each row, a value that at least k entries reach, and rarely many more.

    Maxima of disjoint parts belong to different entries, and there are far fewer of them to sort.
    """
    rows, items = score.shape
    parts = max(8 * k, 1024)
    depth = items // parts
    if depth > 1:
        whole = score[:, : depth * parts].reshape(rows, depth, parts).max(1)
        score = np.concatenate([whole, score[:, depth * parts :]], axis=1)
    return np.partition(score, score.shape[1] - k, axis=1)[:, -k].astype(np.float64)


def _keep_nearest(points: Array, query: Array, candidate: Array, k: int) -> tuple[Array, Array]:
    """Keep the k nearest candidates of each query; pairs are sorted by query."""
    squares = _squared_distances(points, query, candidate)
    mantissa, exponent = np.frexp(squares)
    coarse = np.ldexp(np.rint(np.ldexp(mantissa, TIE_BITS)), exponent - TIE_BITS)
    kept = k_nearest(query, candidate, coarse, k)
    return candidate[kept], squares[kept]


def k_nearest(query: Array, candidate: Array, distance: Array, k: int) -> Array:
    """Pairs of each query with the k smallest distances, `(queries, k)` positions.

    Of equal distances the first candidates count. Pairs are sorted by query, k or more of each.
    """
    order = np.lexsort([candidate, distance, query])
    first = np.flatnonzero(np.diff(query, prepend=-1))
    return order[first[:, None] + np.arange(k)]


def _squared_distances(points: Array, left: Array, right: Array) -> Array:
    step = max(1, 2**21 // points.shape[1])
    squares = np.empty(len(left))
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        apart = points[left[part]] - points[right[part]]
        squares[part] = np.einsum("ij,ij->i", apart, apart)
    return squares
