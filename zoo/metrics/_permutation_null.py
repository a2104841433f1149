"""What average precision would be by luck: shuffled rankings, and the p-values they give."""

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._draws import draw_by_rejection

Array = NDArray[Any]
ROUNDING = 1e-9
"""Precisions nearer than this are equal: they are sums of the same fractions."""


class Null:
    """Average precision of shuffled rankings, drawn anew for each number of positives and items."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        kept = max(1, 2**21 // size)
        self.draws = lru_cache(kept)(partial(shuffled_precision, size=size, seed=seed))

    def of_profiles(self, positives: Array, negatives: Array, precision: Array) -> Array:
        p_values = np.full(len(precision), np.nan)
        scored = np.flatnonzero(~np.isnan(precision))
        for sought, total, members in _kinds(positives[scored], negatives[scored]):
            ranked = np.sort(self.draws(sought, total))
            places = scored[members]
            lower = np.searchsorted(ranked, precision[places] - ROUNDING)
            p_values[places] = (1 + self.size - lower) / (1 + self.size)
        return p_values

    def of_groups(
        self, positives: Array, negatives: Array, codes: Array, means: Array, ties: bool
    ) -> Array:
        """Compare means with means of shuffles; profiles of one kind share their shuffles.

        This is as copairs has it, and as if members always rose and fell together: cautious.
        """
        least = means + (-ROUNDING if ties else ROUNDING)
        p_values = np.full(len(means), np.nan)
        sizes = np.bincount(codes, minlength=len(means))
        for sought, total, alike in _kinds(positives, negatives):
            inside = np.bincount(codes[alike], minlength=len(means))
            whole = np.flatnonzero((inside == sizes) & (sizes > 0))
            if len(whole):
                ranked = np.sort(self.draws(sought, total))
                lower = np.searchsorted(ranked, least[whole], "right")
                p_values[whole] = (1 + self.size - lower) / (1 + self.size)
        several = np.flatnonzero(np.isnan(p_values) & (sizes > 0))
        by_code = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
        for code in several:
            mine = by_code[code]
            mean = np.zeros(self.size)
            for sought, total, alike in _kinds(positives[mine], negatives[mine]):
                mean += len(alike) / sizes[code] * self.draws(sought, total)
            p_values[code] = (1 + int((mean > least[code]).sum())) / (1 + self.size)
        return p_values


def _kinds(positives: Array, negatives: Array) -> Iterator[tuple[int, int, Array]]:
    """Yield numbers of positives and of all that is ranked, with the places that have them."""
    both = np.stack([positives, positives + negatives], axis=1)
    kinds, kind, counts = np.unique(both, axis=0, return_inverse=True, return_counts=True)
    places = np.split(np.argsort(kind.ravel(), kind="stable"), np.cumsum(counts)[:-1])
    for (sought, total), members in zip(kinds.tolist(), places, strict=False):
        yield sought, total, members


def shuffled_precision(positives: int, total: int, size: int, seed: int) -> NDArray[np.float64]:
    """Draw average precisions of random rankings of `total` items, `positives` of them sought.

    Returns
    -------
    ndarray
        `(size,)`, the same for the same arguments.
    """
    rng = np.random.default_rng([seed, positives, total])
    if total <= 32 * positives:
        return _one_by_one(rng, positives, total, size)
    step = max(1, 2**18 // positives)
    hits = np.arange(1, positives + 1)
    found = np.empty(size)
    for start in range(0, size, step):
        places = draw_by_rejection(rng, min(step, size - start), positives, total)
        found[start : start + len(places)] = (hits / (places + 1)).mean(1)
    return found


def _one_by_one(rng: np.random.Generator, positives: int, total: int, size: int) -> Array:
    """Walk down rankings; a place has one of the r positives left with chance r/places left."""
    left = np.full(size, float(positives))
    found = np.zeros(size)
    for place in range(1, total + 1):
        hit = rng.random(size) * (total - place + 1) < left
        left -= hit
        found += hit * ((positives - left) / place)
    return found / positives
