"""Average precision of rankings, and its chance level."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._matrix import standardise

Array = NDArray[Any]


def rank_other_groups(
    embedding: Array, groups: Array, queries: Array | None = None, block: Array | None = None
) -> Iterator[tuple[int, Array]]:
    """Yield each item with the items of all other groups, nearest first by cosine.

    Items of the query's own group are excluded, so that a shortcut shared within a group cannot
    help. Features are standardised on the items of all other blocks, so never on the query's group.
    Ties are ordered by a fixed shuffle.

    Parameters
    ----------
    embedding
        `(n, D)`.
    groups
        `(n,)`.
    queries
        `(n,)` booleans, which items to yield; by default all.
    block
        `(n,)` sets of groups, by default each group alone. Many groups in few blocks take less
        time.
    """
    block = groups if block is None else block
    queries = np.ones(len(groups), dtype=bool) if queries is None else queries
    shuffle = np.random.default_rng(0).permutation(len(groups))
    for one in np.unique(block):
        own = block[shuffle] == one
        others, inside = shuffle[~own], shuffle[own]
        seen, unseen = map(_unit, standardise(embedding[others], embedding[inside]))
        candidates = others
        if len(np.unique(groups[inside])) > 1:
            candidates, seen = np.concatenate([others, inside]), np.concatenate([seen, unseen])
        asked = queries[inside]
        similarity = unseen[asked] @ seen.T
        for i, row in zip(inside[asked], similarity, strict=True):
            foreign = groups[candidates] != groups[i]
            ranked = np.argsort(-row[foreign], kind="stable")
            yield int(i), candidates[foreign][ranked]


def average_precision(relevant: Array) -> Array:
    """Average precision of rankings: the mean of the precision at the place of each positive.

    Parameters
    ----------
    relevant
        `(L, m)` booleans: whether the item at each place is a positive, best place first, with one
        ranking in each column.

    Returns
    -------
    ndarray
        `(m,)`, in (0, 1]; the chance level is `expected_average_precision`. NaN for rankings
        without a positive or without a negative.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import average_precision
    >>> average_precision(np.array([[True, False], [False, False], [True, True]])).round(3).tolist()
    [0.833, 0.333]
    """
    hits = relevant.cumsum(0)
    places = np.arange(1, len(relevant) + 1)[:, None]
    positives = relevant.sum(0)
    usable = (positives > 0) & (positives < len(relevant))
    total = (hits / places * relevant).sum(0)
    return np.where(usable, total / np.maximum(positives, 1), np.nan)


def expected_average_precision(positives: int, total: int) -> float:
    """Mean average precision of random rankings of `total` items with `positives` among them.

    μ0 = ((M − 1)/(L − 1) · (L − H_L) + H_L)/L for M positives of L items, where H_L is the harmonic
    number (Bestgen, 2015). It exceeds the share of positives, most of all in short rankings.

    Parameters
    ----------
    positives, total
        How many positives and how many items are ranked.

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    ValueError
        Unless 1 ≤ `positives` ≤ `total`.

    Examples
    --------
    >>> from zoo.metrics import expected_average_precision
    >>> round(expected_average_precision(1, 2), 3)
    0.75
    """
    if not 1 <= positives <= total:
        raise ValueError(f"positives must be between 1 and the {total} items, not {positives}")
    if total == 1:
        return 1.0
    harmonic = float((1.0 / np.arange(1, total + 1)).sum())
    return ((positives - 1) / (total - 1) * (total - harmonic) + harmonic) / total


def normalised_average_precision(precision: Array, chance: Array) -> Array:
    """(AP − μ0)/(1 − μ0), at most 1; 0 by chance.

    Parameters
    ----------
    precision, chance
        Average precisions, and their `expected_average_precision`, of the same shape.

    Returns
    -------
    ndarray
        Of that shape; NaN where even a random ranking is perfect.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import normalised_average_precision
    >>> normalised_average_precision(np.array([1.0, 0.75, 0.5]), np.array([0.75] * 3)).tolist()
    [1.0, 0.0, -1.0]
    """
    room = 1.0 - np.asarray(chance, np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(room > 0, (precision - chance) / np.where(room > 0, room, 1.0), np.nan)


def _unit(rows: Array) -> Array:
    """Scale standardised rows to length 1; a row of zeros stays.

    Not `unit_rows`, whose result differs in the last digit: with few discrete features, cosines
    that are equal up to rounding would be ordered differently.
    """
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1.0)  # type: ignore[no-any-return]
