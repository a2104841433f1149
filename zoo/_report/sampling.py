"""Which items are shown where there are too many."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def spread_out(count: int, most: int) -> NDArray[np.intp]:
    """Choose up to `most` of `count` places, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def spread_over(labels: NDArray[Any], most: int) -> NDArray[np.intp]:
    """Choose up to `most` places so that every label gets as many as it can."""
    found = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    chosen: list[NDArray[np.intp]] = []
    left = most
    for k, places in enumerate(sorted(found, key=len)):
        quota = left // (len(found) - k)
        chosen.append(places[spread_out(len(places), quota)] if quota else places[:0])
        left -= len(chosen[-1])
    return np.sort(np.concatenate(chosen))
