"""Replicate retrieval across groups: average precision of each item, and without each group."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics._precision import average_precision, rank_other_groups

Array = NDArray[Any]
COMPARISONS = 2**30
BLOCKS = 64


@dataclass(frozen=True)
class Retrieval:
    """Average precisions of the items of a question.

    Parameters
    ----------
    precision
        `(n, m)` for each column of labels; NaN for items that are no query.
    without
        `(n, blocks)` for the first column, with a block of groups left out of queries and gallery.
    block
        `(n,)` number of the block of each item.
    note
        Items left out of the queries to limit the computing time.
    """

    precision: Array
    without: Array
    block: Array
    note: str

    def scores_without(self, items: Array) -> tuple[Array, Array]:
        """Mean over the queries of each block without each block, and the queries in each block.

        On the diagonal is the mean over the queries of a block with all that they rank.
        """
        asked = items[np.isfinite(self.precision[items, 0])]
        blocks = self.without.shape[1]
        own = self.block[asked, None] == np.arange(blocks)
        scored = np.where(own, self.precision[asked, :1], self.without[asked])
        known = np.isfinite(scored)
        with np.errstate(invalid="ignore"):
            between = (own.T @ np.where(known, scored, 0.0)) / (own.T.astype(float) @ known)
        return between, own.sum(0).astype(float)


def retrieve(embedding: Array, codes: Array, groups: Array, seed: int) -> Retrieval:
    """Rank all items of other groups for each item.

    Groups beyond `BLOCKS` are left out several at a time, also where features are standardised.
    Beyond `COMPARISONS` comparisons only a
    random sample of the items are queries, as the note says.
    """
    n = len(codes)
    block = _blocks(groups, seed)
    blocks = int(block.max()) + 1
    used = max(1, min(n, COMPARISONS // (n * (codes.shape[1] + blocks))))
    queries, note = np.ones(n, dtype=bool), ""
    if used < n:
        queries = np.isin(np.arange(n), np.random.default_rng(seed).choice(n, used, replace=False))
        note = f"{n - used} of {n} items as queries; a random {used} were used"
    precision = np.full(codes.shape, np.nan)
    without = np.full((n, blocks), np.nan)
    for i, ranked in rank_other_groups(embedding, groups, queries, block):
        relevant = codes[ranked] == codes[i]
        precision[i] = average_precision(relevant)
        without[i] = precision_without(relevant[:, 0], block[ranked], blocks)
        without[i, block[i]] = np.nan
    return Retrieval(precision, without, block, note)


def precision_without(relevant: Array, block: Array, blocks: int) -> Array:
    """Average precision of a ranking if each block of its items is left out.

    Parameters
    ----------
    relevant, block
        `(L,)` whether the item at each place is a positive, and the number of its block.
    blocks
        How many blocks there are.

    Returns
    -------
    ndarray
        `(blocks,)`; NaN where no positive or no negative is left.
    """
    places = np.flatnonzero(relevant)
    own = block[places, None] == np.arange(blocks)  # (R, blocks)
    # How many items of each block stand at or before each positive: those since the last, summed.
    turn = (np.cumsum(relevant) - relevant)[: places[-1] + 1 if len(places) else 0]
    since = np.bincount(turn * blocks + block[: len(turn)], minlength=len(places) * blocks)
    ahead = since.reshape(len(places), blocks).cumsum(0)
    hits = np.arange(1, len(places) + 1)[:, None] - own.cumsum(0)
    ranks = places[:, None] + 1 - ahead
    total = np.where(own, 0.0, hits / np.maximum(ranks, 1)).sum(0)
    left = len(places) - own.sum(0)
    size = len(block) - np.bincount(block, minlength=blocks)
    return np.where((left > 0) & (left < size), total / np.maximum(left, 1), np.nan)


def mean_known(values: Array) -> float:
    """Mean of what is defined; NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _blocks(groups: Array, seed: int) -> Array:
    """Number of the block of each item: its group's, or one that several groups share."""
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) <= BLOCKS:
        return codes
    return (np.random.default_rng(seed).permutation(len(names)) % BLOCKS)[codes]
