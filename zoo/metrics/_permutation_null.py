"""Permutation null of average precision, and p-values from it."""

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._draws import draw_by_rejection

Array = NDArray[Any]
ROUNDING = 1e-9
"""Average precisions that differ by less are equal: they are sums of the same fractions."""


class Null:
    """Null distributions, one for each number of positives and of ranked items."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        kept = max(1, 2**21 // size)
        self.draws = lru_cache(kept)(partial(random_average_precision, size=size, seed=seed))

    def of_profiles(self, positives: Array, negatives: Array, precision: Array) -> Array:
        p_values = np.full(len(precision), np.nan)
        scored = np.flatnonzero(~np.isnan(precision))
        for positive, total, members in _configurations(positives[scored], negatives[scored]):
            ranked = np.sort(self.draws(positive, total))
            places = scored[members]
            lower = np.searchsorted(ranked, precision[places] - ROUNDING)
            p_values[places] = (1 + self.size - lower) / (1 + self.size)
        return p_values

    def of_groups(
        self, positives: Array, negatives: Array, codes: Array, means: Array, ties: bool
    ) -> Array:
        """P-values of means over groups.

        Group members with the same numbers of positives and negatives share one permutation draw,
        as in copairs; this is conservative.
        """
        least = means + (-ROUNDING if ties else ROUNDING)
        p_values = np.full(len(means), np.nan)
        sizes = np.bincount(codes, minlength=len(means))
        for positive, total, members in _configurations(positives, negatives):
            inside = np.bincount(codes[members], minlength=len(means))
            whole = np.flatnonzero((inside == sizes) & (sizes > 0))
            if len(whole):
                ranked = np.sort(self.draws(positive, total))
                lower = np.searchsorted(ranked, least[whole], "right")
                p_values[whole] = (1 + self.size - lower) / (1 + self.size)
        several = np.flatnonzero(np.isnan(p_values) & (sizes > 0))
        by_code = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
        for code in several:
            mine = by_code[code]
            mean = np.zeros(self.size)
            for positive, total, members in _configurations(positives[mine], negatives[mine]):
                mean += len(members) / sizes[code] * self.draws(positive, total)
            p_values[code] = (1 + int((mean > least[code]).sum())) / (1 + self.size)
        return p_values


def _configurations(positives: Array, negatives: Array) -> Iterator[tuple[int, int, Array]]:
    """Yield each (positives, ranked items) with the places of the profiles that have it."""
    both = np.stack([positives, positives + negatives], axis=1)
    pairs, pair, counts = np.unique(both, axis=0, return_inverse=True, return_counts=True)
    places = np.split(np.argsort(pair.ravel(), kind="stable"), np.cumsum(counts)[:-1])
    for (positive, total), members in zip(pairs.tolist(), places, strict=False):
        yield positive, total, members


def random_average_precision(
    positives: int, total: int, size: int, seed: int
) -> NDArray[np.float64]:
    """Draw average precisions of random rankings of `total` items with `positives` among them.

    Returns
    -------
    ndarray
        `(size,)`, the same for the same arguments.
    """
    rng = np.random.default_rng([seed, positives, total])
    if total <= 32 * positives:
        return _by_walking_down(rng, positives, total, size)
    step = max(1, 2**18 // positives)
    hits = np.arange(1, positives + 1)
    found = np.empty(size)
    for start in range(0, size, step):
        places = draw_by_rejection(rng, min(step, size - start), positives, total)
        found[start : start + len(places)] = (hits / (places + 1)).mean(1)
    return found


def _by_walking_down(rng: np.random.Generator, positives: int, total: int, size: int) -> Array:
    """Walk down all rankings: a place is a positive with probability positives left/places left."""
    left = np.full(size, float(positives))
    found = np.zeros(size)
    for place in range(1, total + 1):
        hit = rng.random(size) * (total - place + 1) < left
        left -= hit
        found += hit * ((positives - left) / place)
    return found / positives
