"""Draws without replacement, many at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def draw_by_keys(rng: np.random.Generator, rows: int, count: int, total: int) -> Array:
    """Draw `count` different numbers below `total` for each row: those with the lowest keys.

    Every number below `total` gets a random key: fast where `count` is a large part of `total`.
    """
    keys = rng.random((rows, total))
    if count == total:
        return np.argsort(keys, axis=1)
    return np.argpartition(keys, count - 1, axis=1)[:, :count]


def draw_by_rejection(rng: np.random.Generator, rows: int, count: int, total: int) -> Array:
    """Draw `count` different numbers below `total` for each row, ascending.

    Repeats are redrawn, so all sets are equally likely: fast where `count` is a small part of
    `total`.
    """
    drawn = np.sort(rng.integers(total, size=(rows, count)), axis=1)
    pending = np.arange(rows)
    while len(pending):
        part = drawn[pending]
        repeated = np.zeros(part.shape, bool)
        repeated[:, 1:] = part[:, 1:] == part[:, :-1]
        again = repeated.any(1)
        part[repeated] = rng.integers(total, size=int(repeated.sum()))
        part.sort(axis=1)
        drawn[pending] = part
        pending = pending[again]
    return drawn
