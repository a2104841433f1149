"""Robustness of neighbourhoods to batches: robustness index and CRoMa."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._blocks import ROWS, blocks_of
from ._distances import Metric, codes_of, distances_between, members_of, neighbours_of, points

Array = NDArray[Any]


@dataclass(frozen=True)
class RobustnessIndex:
    """Robustness index with its expected values.

    Parameters
    ----------
    value
        Share of neighbours of the same label in another batch, among those and neighbours of
        another label in the same batch, in [0, 1]; NaN without support.
    expected
        Its value if neighbours, labels and batches are independent.
    expected_by_design
        Its value for neighbours drawn at random from the items. It differs from `expected` where
        labels and batches are associated; NaN if the design has no pairs of either kind.
    support
        Neighbours of either kind.
    neighbours
        All neighbours that were considered.
    """

    value: float
    expected: float
    expected_by_design: float
    support: int
    neighbours: int


@dataclass(frozen=True)
class Croma:
    """Cross-confounder robustness margins, and their summaries over the items that have one.

    Parameters
    ----------
    margins
        `(N,)`, in [−1, 1]; above 0 biology is nearer than batch. NaN for the items that `too_few`
        and `coincident` count.
    median, worst_tenth, share_not_positive
        Median, mean of the lowest tenth (rounded up), and share at or below 0; NaN without items.
    items
        Items with a margin.
    too_few
        Items with fewer than m others of either kind.
    coincident
        Items at distance 0 from all m of both kinds, where the margin is 0/0.
    """

    margins: NDArray[np.float64]
    median: float
    worst_tenth: float
    share_not_positive: float
    items: int
    too_few: int
    coincident: int


def robustness_index(
    indices: Array, labels: Array, batches: Array, *, k: int | None = None
) -> RobustnessIndex:
    """Robustness index, ΣSO/(ΣSO + ΣOS) over the k nearest neighbours of all items, in [0, 1].

    SO are neighbours of the same label in another batch, OS those of another label in the same
    batch (PathoROB; Kömen et al., 2025, arXiv:2507.17845). There is no fixed chance level: read the
    index beside its expected values and its support.

    Parameters
    ----------
    indices
        `(N, ≥ k)` nearest other items of each item, nearest first.
    labels, batches
        `(N,)`.
    k
        Neighbours that count; by default all that are given.

    Returns
    -------
    RobustnessIndex

    Raises
    ------
    ValueError
        For indices that are no neighbours, shapes that do not fit, and a `k` out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import robustness_index
    >>> labels, batches = np.array(["a", "a", "b", "b"]), np.array([1, 2, 1, 2])
    >>> robustness_index(np.array([[1], [0], [0], [2]]), labels, batches).value
    0.75
    """
    near = neighbours_of(indices, k)
    label, batch = codes_of(labels, len(near), "labels"), codes_of(batches, len(near), "batches")
    same_label, same_batch = label[near] == label[:, None], batch[near] == batch[:, None]
    biology, technical = (
        int((same_label & ~same_batch).sum()),
        int((same_batch & ~same_label).sum()),
    )
    return RobustnessIndex(
        value=_share(biology, technical),
        expected=expected_robustness_index(labels, batches),
        expected_by_design=_expected_by_design(label, batch),
        support=biology + technical,
        neighbours=near.size,
    )


def expected_robustness_index(labels: Array, batches: Array) -> float:
    """Robustness index under independence, P_L(1 − P_B)/[P_L(1 − P_B) + P_B(1 − P_L)].

    P_L and P_B are the sums of squared shares of labels and of batches, the probabilities that two
    items agree. NaN for one label in one batch.

    Parameters
    ----------
    labels, batches
        `(N,)`.
    """
    label, batch = (
        codes_of(labels, len(labels), "labels"),
        codes_of(batches, len(labels), "batches"),
    )
    same_label = float(((np.bincount(label) / len(label)) ** 2).sum())
    same_batch = float(((np.bincount(batch) / len(batch)) ** 2).sum())
    return _share(same_label * (1 - same_batch), same_batch * (1 - same_label))


def croma(
    embedding: Array,
    labels: Array,
    batches: Array,
    *,
    m: int = 5,
    metric: Metric = "cosine",
    rows: int = ROWS,
) -> Croma:
    """Cross-confounder robustness margin, (d_OS − d_SO)/(d_OS + d_SO), of every item, in [−1, 1].

    d_SO is the mean distance to the m nearest items of the same label in other batches, d_OS that
    to the m nearest of other labels in the same batch. By chance the median is 0 if both kinds are
    about as frequent. The search is exact, and compares an item only with its own label and batch.

    Parameters
    ----------
    embedding
        `(N, D)`, finite; no rows of zeros under cosine.
    labels, batches
        `(N,)`.
    m
        Nearest items of each kind.
    metric
        ``"cosine"`` is the distance 1 − cosine.
    rows
        Items in a block, which bounds the memory and does not change the result.

    Returns
    -------
    Croma

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, rows of zeros under cosine, and `m`
        below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import croma
    >>> embedding = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> labels, batches = np.array(["a", "a", "b", "b"]), np.array([1, 2, 1, 2])
    >>> round(croma(embedding, labels, batches, m=1).median, 2)
    0.99
    """
    if m < 1:
        raise ValueError(f"m must be at least 1, not {m}")
    located = points(embedding, metric)
    label = codes_of(labels, len(located), "labels")
    batch = codes_of(batches, len(located), "batches")
    biology, technical = np.full(len(located), np.inf), np.full(len(located), np.inf)
    for of, others, target in [(label, batch, biology), (batch, label, technical)]:
        for members in members_of(of):
            for inside in members_of(np.unique(others[members], return_inverse=True)[1]):
                queries = members[inside]
                candidates = np.delete(members, inside)
                if len(candidates) >= m:
                    target[queries] = _mean_of_nearest(
                        located, queries, candidates, m, metric, rows
                    )
    enough = np.isfinite(biology) & np.isfinite(technical)
    scored = np.zeros(len(located), bool)
    scored[enough] = (biology + technical)[enough] > 0
    near, far = biology[scored], technical[scored]
    margins = np.full(len(located), np.nan)
    margins[scored] = (far - near) / (far + near)
    ranked = np.sort(margins[scored])
    return Croma(
        margins=margins,
        median=float(np.median(ranked)) if len(ranked) else float("nan"),
        worst_tenth=float(ranked[: ceil(len(ranked) / 10)].mean()) if len(ranked) else float("nan"),
        share_not_positive=float((ranked <= 0).mean()) if len(ranked) else float("nan"),
        items=len(ranked),
        too_few=int((~enough).sum()),
        coincident=int((enough & ~scored).sum()),
    )


def _mean_of_nearest(
    located: Array, queries: Array, candidates: Array, m: int, metric: Metric, rows: int
) -> NDArray[np.float64]:
    means = np.empty(len(queries))
    for block in blocks_of(len(queries), rows):
        nearest = np.full((block.stop - block.start, m), np.inf)
        for part in blocks_of(len(candidates), rows):
            distance = distances_between(located[queries[block]], located[candidates[part]], metric)
            nearest = np.partition(np.hstack([nearest, distance]), m - 1, axis=1)[:, :m]
        means[block] = np.sort(nearest, axis=1).mean(1)
    return means


def _expected_by_design(label: Array, batch: Array) -> float:
    _, cell = np.unique(np.stack([label, batch]), axis=1, return_inverse=True)
    both = _pairs(cell.ravel())
    return _share(_pairs(label) - both, _pairs(batch) - both)


def _pairs(codes: Array) -> int:
    return int((np.bincount(codes).astype(np.int64) ** 2).sum())


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest > 0 else float("nan")
