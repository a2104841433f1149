"""Draws without replacement, many at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def draw_by_keys(rng: np.random.Generator, rows: int, count: int, total: int) -> Array:
    """Draw `count` different numbers below `total` for each row: those of the lowest random keys.

    Quick where `count` is a fair part of `total`, for every number below it gets a key.
    """
    keys = rng.random((rows, total))
    if count == total:
        return np.argsort(keys, axis=1)
    return np.argpartition(keys, count - 1, axis=1)[:, :count]


def draw_by_rejection(rng: np.random.Generator, rows: int, count: int, total: int) -> Array:
    """Draw `count` different numbers below `total` for each row, ascending.

    Quick where `count` is a small part of `total`. Repeats are drawn again, which favours no
    number, so that all sets are as likely.
    """
    drawn = np.sort(rng.integers(total, size=(rows, count)), axis=1)
    unsettled = np.arange(rows)
    while len(unsettled):
        part = drawn[unsettled]
        repeated = np.zeros(part.shape, bool)
        repeated[:, 1:] = part[:, 1:] == part[:, :-1]
        again = repeated.any(1)
        part[repeated] = rng.integers(total, size=int(repeated.sum()))
        part.sort(axis=1)
        drawn[unsettled] = part
        unsettled = unsettled[again]
    return drawn
