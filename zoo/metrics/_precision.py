"""Average precision of rankings, and what it is at random."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._matrix import standardise

Array = NDArray[Any]


def rank_other_groups(
    embedding: Array, groups: Array, queries: Array | None = None
) -> Iterator[tuple[int, Array]]:
    """Yield each item with the items of all other groups, nearest first by cosine.

    Items of the query's own group are left out altogether, so that a shortcut shared within a
    group cannot help. Features are standardised by the candidates, never by the query's group.
    Ties fall as a fixed shuffle has them.

    Parameters
    ----------
    embedding
        `(n, D)`.
    groups
        `(n,)`.
    queries
        Which items to yield, `(n,)` booleans; by default all.
    """
    shuffle = np.random.default_rng(0).permutation(len(groups))
    for group in np.unique(groups):
        own = groups == group
        inside = np.flatnonzero(own if queries is None else own & queries)
        others = shuffle[~own[shuffle]]
        candidates, asking = standardise(embedding[others], embedding[inside])
        similarity = _unit(asking) @ _unit(candidates).T
        for i, row in zip(inside, similarity, strict=True):
            yield int(i), others[np.argsort(-row, kind="stable")]


def average_precision(relevant: Array) -> Array:
    """Average precision of rankings: the mean, over the positives, of the precision at their place.

    Parameters
    ----------
    relevant
        `(L, m)` booleans, best place first, one ranking a column.

    Returns
    -------
    ndarray
        `(m,)`, in (0, 1]; NaN for rankings without a positive or without a negative.
    """
    hits = relevant.cumsum(0)
    places = np.arange(1, len(relevant) + 1)[:, None]
    positives = relevant.sum(0)
    usable = (positives > 0) & (positives < len(relevant))
    total = (hits / places * relevant).sum(0)
    return np.where(usable, total / np.maximum(positives, 1), np.nan)


def expected_average_precision(positives: int, total: int) -> float:
    """Average precision of a random ranking of `total` items, `positives` of them sought.

    μ0 = ((M − 1)/(L − 1) · (L − H_L) + H_L)/L, with H_L the harmonic number.
    """
    if not 1 <= positives <= total:
        raise ValueError(f"{positives} positives among {total} items")
    if total == 1:
        return 1.0
    harmonic = float((1.0 / np.arange(1, total + 1)).sum())
    return ((positives - 1) / (total - 1) * (total - harmonic) + harmonic) / total


def normalised_average_precision(precision: Array, chance: Array) -> Array:
    """(AP − μ0)/(1 − μ0): 0 at chance and 1 if perfect; NaN where chance is perfect already.

    Parameters
    ----------
    precision, chance
        Of like shape; chance is of `expected_average_precision`.
    """
    room = 1.0 - np.asarray(chance, np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(room > 0, (precision - chance) / np.where(room > 0, room, 1.0), np.nan)


def _unit(rows: Array) -> Array:
    """Scale standardised rows to length 1; a row of zeros stays.

    Not `unit_rows`, whose last digit differs: where features are few counts, nearly equal cosines
    would come in another order.
    """
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1.0)  # type: ignore[no-any-return]
