"""Average precision of many queries by cosine, with ties, in bounded memory.

Cosines of a block are first rounded to a coarse grid, where counting is fast. Queries with a
negative within one step of a positive, which are few unless there are ties, are scored again on a
fine grid; there, cosines near the edge of a cell are summed in a fixed order. So the result does
not depend on blocks, threads or device.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ._blocks import ENTRIES
from ._pairs import Pairs
from ._ranking_blocks import COARSE, EXCLUDED, Block, count_below, excluded_from
from ._threads import device_of, run_in_threads

Array = NDArray[Any]
FINE = 2.0**38
"""Steps per unit of similarity on the fine grid."""
DENSE = 2**25
"""Pairs of positives and negatives of a query above which some are always ambiguous."""
LIGHT = 2**22
"""Similarities below which threads cost more than they save."""


class Screen(Protocol):
    """Counts in a block on the coarse grid, by NumPy or by PyTorch."""

    entries: int | None

    def excluded(self, block: Block) -> Any:
        """Which profiles of the pool are not negatives of a query, `(queries, pool)`."""

    def count_true(self, table: Any) -> Array:
        """Number of true entries in each row."""

    def counts(self, block: Block, excluded: Any, row: Array, value: Array) -> tuple[Array, Array]:
        """Negatives that are surely above each positive, and those that may reach it."""


class NumpyScreen:
    """`Screen` on the CPU."""

    entries: int | None = None

    def __init__(self, directions: Array, codes: dict[str, Array], pairs: Pairs) -> None:
        self.directions, self.codes, self.pairs = directions, codes, pairs

    def excluded(self, block: Block) -> Array:
        found: Array = excluded_from(block, self.pairs, self.codes, self.codes)
        return found

    def count_true(self, table: Array) -> Array:
        return np.array([np.count_nonzero(row) for row in table])  # faster than a sum by rows

    def counts(
        self, block: Block, excluded: Array, row: Array, value: Array
    ) -> tuple[Array, Array]:
        near = _coarse(self.directions, block.queries, block.pool, block.rows)
        np.copyto(near, EXCLUDED, where=excluded)
        return _count_above(near, row, value, slack=1)


class Search:
    """Positives, negatives and average precision of each profile, in blocks of queries."""

    def __init__(
        self, directions: Array, columns: dict[str, Array], pairs: Pairs, device: str | None
    ) -> None:
        self.directions, self.columns, self.pairs = directions, columns, pairs
        self.label = columns[pairs.label]
        self.members = np.split(
            np.argsort(self.label, kind="stable"), np.bincount(self.label).cumsum()[:-1]
        )
        items = len(directions)
        self.share = _combined_codes([columns[name] for name in pairs.neg_sameby], items)
        every = np.ones(items, bool)
        self.eligible = every if pairs.controls is None else columns[pairs.controls]
        self.on_cpu = NumpyScreen(directions, columns, pairs)
        self.screen: Screen = self.on_cpu
        if (on := device_of(device)) is not None:
            from ._ranking_gpu import TorchScreen

            self.screen = TorchScreen(on, directions, columns, pairs)
        self.positives, self.negatives = np.zeros(items, np.int64), np.zeros(items, np.int64)
        self.precision = np.full(items, np.nan)
        self.harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, items + 1))])

    def precisions(self, entries: int | None, threads: int | None) -> tuple[Array, Array, Array]:
        """Positives, negatives and average precision of each profile; NaN without either."""
        entries = entries or self.screen.entries or ENTRIES
        if self.screen is not self.on_cpu:
            threads = 1
        elif threads is None:
            asking, asked = np.bincount(self.share), np.bincount(self.share, self.eligible)
            threads = 0 if asking @ asked < LIGHT else None
        run_in_threads(self.score, self.blocks(entries), threads)
        return self.positives, self.negatives, self.precision

    def blocks(self, entries: int) -> Iterator[Block]:
        keys = [codes for name, codes in self.columns.items() if name != self.pairs.controls]
        order = np.lexsort(keys[::-1])
        upto = np.cumsum(np.bincount(self.label)[self.label[order]])
        # Positive pairs of a chunk; each takes more memory than a similarity.
        listed = max(entries // 32, 4 * len(order))
        cuts = np.flatnonzero(np.diff(upto // listed)) + 1
        pools: dict[int, tuple[Array | None, Array]] = {}
        for queries in np.split(order, cuts):
            row, column, value = self.positives_of(queries, partial(_coarse, self.directions))
            counts = np.bincount(row, minlength=len(queries))
            starts = np.cumsum(counts) - counts
            shared = self.share[queries]
            for key in np.unique(shared):
                inside = np.flatnonzero(shared == key)
                if key not in pools:
                    pools[key] = self.pool(key)
                pool, rows = pools[key]
                step = max(1, entries // max(1, len(rows)))
                for start in range(0, len(inside), step):
                    part = inside[start : start + step]
                    own = _ranges(starts[part], counts[part])
                    at = np.repeat(np.arange(len(part)), counts[part])
                    yield Block(queries[part], pool, rows, at, column[own], value[own])

    def pool(self, key: int) -> tuple[Array | None, Array]:
        """Profiles that may be negatives, and their directions."""
        eligible = (self.share == key) & self.eligible
        if eligible.all():
            return None, self.directions
        pool = np.flatnonzero(eligible)
        return pool, self.directions[pool]

    def positives_of(
        self, queries: Array, similarity: Callable[[Array, Array], Array]
    ) -> tuple[Array, Array, Array]:
        """Place of the query, index and similarity of all positives; queries sorted by label."""
        places, columns, values = [], [], []
        cuts = np.flatnonzero(np.diff(self.label[queries])) + 1
        for run in np.split(np.arange(len(queries)), cuts):
            own = queries[run]
            members = self.members[self.label[own[0]]]
            wanted = members != own[:, None]
            for name in self.pairs.pos_diffby:
                codes = self.columns[name]
                wanted &= codes[members] != codes[own][:, None]
            row, column = np.nonzero(wanted)
            places.append(run[row])
            columns.append(members[column])
            values.append(similarity(own, members)[row, column])
        return np.concatenate(places), np.concatenate(columns), np.concatenate(values)

    def score(self, block: Block) -> None:
        queries = block.queries
        positives = np.bincount(block.row, minlength=len(queries))
        excluded = self.screen.excluded(block)
        negatives = excluded.shape[1] - self.screen.count_true(excluded)
        self.positives[queries], self.negatives[queries] = positives, negatives
        scored = (positives > 0) & (negatives > 0)
        asked = scored[block.row]
        row, value = block.row[asked], block.value[asked]
        if len(row) * excluded.shape[1] > DENSE * len(queries):
            above, reached = np.zeros(len(row), int), np.ones(len(row), int)
        else:
            above, reached = self.screen.counts(block, excluded, row, value)
        del excluded
        ambiguous = np.bincount(row[above != reached], minlength=len(queries)) > 0
        clear = scored & ~ambiguous
        mine = clear[row]
        own = (row[mine], value[mine], above[mine], reached[mine])
        total = _tied_precisions(*own, self.harmonic, len(queries))
        self.precision[queries[clear]] = (total / np.maximum(positives, 1))[clear]
        self.score_finely(block, np.flatnonzero(scored & ambiguous))

    def score_finely(self, block: Block, rows: Array) -> None:
        """Score queries of a block on the fine grid, a few at a time."""
        step = max(1, ENTRIES // 2 // max(1, len(block.rows)))
        place = np.full(len(block.queries), -1)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            place[part] = np.arange(len(part))
            mine = np.flatnonzero(place[block.row] >= 0)
            queries, row = block.queries[part], place[block.row[mine]]
            place[part] = -1
            few = block._replace(queries=queries, row=row, column=block.column[mine])
            near = _fine(self.directions, queries, block.pool, block.rows)
            near[self.on_cpu.excluded(few)] = -np.inf
            row, _, value = self.positives_of(queries, partial(_fine, self.directions))
            above, reached = _count_above(near, row, value, slack=0)
            total = _tied_precisions(row, value, above, reached, self.harmonic, len(part))
            self.precision[queries] = total / np.bincount(row, minlength=len(part))


def _combined_codes(codes: list[Array], items: int) -> Array:
    """One code for each combination."""
    import pandas as pd

    combined = np.zeros(items, np.int64)
    for code in codes:
        combined = pd.factorize(combined * (int(code.max()) + 1) + code)[0]
    return combined


def _ranges(starts: Array, counts: Array) -> Array:
    """Concatenated ranges of the given starts and lengths."""
    first = np.cumsum(counts) - counts
    ranges: Array = np.repeat(starts - first, counts) + np.arange(int(counts.sum()))
    return ranges


def _coarse(
    directions: Array, queries: Array, pool: Array | None, rows: Array | None = None
) -> Array:
    """Cosines, `(queries, pool)`, as integers on the coarse grid."""
    candidates = directions[pool] if rows is None else rows
    asked = directions[queries]
    similarity = np.empty((len(queries), len(candidates)), np.int32)
    step = max(256, 2**18 // len(queries))
    for start in range(0, len(candidates), step):
        part = slice(start, start + step)
        product = asked @ candidates[part].T
        product *= COARSE
        similarity[:, part] = np.rint(product, out=product)
    return similarity


def _fine(
    directions: Array, queries: Array, pool: Array | None, rows: Array | None = None
) -> Array:
    """Cosines as integers on the fine grid; what rounding could change is summed again."""
    asked, candidates = directions[queries], directions[pool] if rows is None else rows
    cells = np.empty((len(queries), len(candidates)))
    # Both ways of summing are within D + 2 rounding errors of the exact value.
    margin = 0.5 - 2 * (directions.shape[1] + 2) * 2.0**-53 * FINE
    step = max(256, 2**17 // len(queries))
    for start in range(0, len(candidates), step):
        part = candidates[start : start + step]
        product = asked @ part.T
        product *= FINE
        near = np.rint(product)
        product -= near
        uncertain = np.flatnonzero(np.abs(product, out=product) > margin)
        row, column = np.divmod(uncertain, len(part))
        near[row, column] = np.rint(np.einsum("ij,ij->i", asked[row], part[column]) * FINE)
        cells[:, start : start + step] = near
    return cells


def _count_above(near: Array, row: Array, value: Array, slack: int) -> tuple[Array, Array]:
    """Entries in the row of each value that exceed it by more than `slack`, and that reach it.

    Entries below by up to `slack` count as reaching. Rows of `near` may be sorted in place.
    """
    rows, items = near.shape
    high, low = value + slack, value - slack
    if len(value) < min(96, items // 256) * rows:  # a pass for each is faster than sorting
        both = [
            (np.count_nonzero(near[r] > h), np.count_nonzero(near[r] >= g))
            for r, h, g in zip(row.tolist(), high, low, strict=True)
        ]
        above, reached = np.array(both, np.int64).reshape(-1, 2).T
        return above, reached
    near.sort(axis=1)
    if len(value) < 64 * rows:
        return items - count_below(near, row, high + 1), items - count_below(near, row, low)
    above, reached = np.empty(len(value), np.int64), np.empty(len(value), np.int64)
    cuts = np.flatnonzero(np.diff(row)) + 1
    for run in np.split(np.arange(len(row)), cuts):
        ranked = near[row[run[0]]]
        above[run] = items - np.searchsorted(ranked, high[run], "right")
        reached[run] = items - np.searchsorted(ranked, low[run])
    return above, reached


def _tied_precisions(
    row: Array, value: Array, above: Array, reached: Array, harmonic: Array, rows: int
) -> Array:
    """Sum of the precision at the places of positives, averaged over all orders of ties.

    Of n tied items, r of them positives, after t others with R positives, a positive is at each
    place i with probability r/n and has (i − 1)(r − 1)/(n − 1) of the tied positives before it.

    Parameters
    ----------
    row, value
        Query and similarity of each positive.
    above, reached
        Negatives of the query above the positive, and those not below it.
    harmonic
        Harmonic numbers, starting with that of 0.

    Returns
    -------
    ndarray
        `(rows,)`.
    """
    if not len(row):
        return np.zeros(rows)
    order = np.lexsort([-value, row])
    row, value = row[order], value[order]
    new = np.ones(len(row), bool)
    new[1:] = (row[1:] != row[:-1]) | (value[1:] != value[:-1])
    first = np.flatnonzero(new)
    tied_positives = np.diff(first, append=len(row))
    begun = np.cumsum(np.bincount(row, minlength=rows)) - np.bincount(row, minlength=rows)
    before = first - begun[row[first]]
    higher = above[order][first]
    tied = tied_positives + reached[order][first] - higher
    before_all = before + higher
    steps = harmonic[before_all + tied] - harmonic[before_all]
    ranked = tied - (before_all + 1) * steps
    mixed = (before + 1) * steps + (tied_positives - 1) / np.maximum(tied - 1, 1) * ranked
    alone = (before + 1) / (before_all + 1)
    share = np.where(tied == 1, alone, tied_positives / tied * mixed)
    total: Array = np.bincount(row[first], share, minlength=rows)
    return total
