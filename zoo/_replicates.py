"""Replicate retrieval: whether profiles of a label are nearer to each other than to the rest.

Mean average precision as copairs has it (Kalinin et al. 2025, doi:10.1038/s41467-025-60306-2):
positives and negatives of each profile are ranked by cosine, and shuffled rankings are the null.

Cosines of a block are first rounded to a coarse grid, on which counting is quick. Only queries with
a negative within a step of a positive, few unless there are ties, are settled on a fine grid whose
every doubtful cell comes from a sum of fixed order. So blocks, threads and device change nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from ._metrics import expected_precision, normalised_precision
from ._neighbours import device_of, share_out

Array = NDArray[Any]
ENTRIES = 2**22
"""Similarities that a thread holds at once; a block is this many, or one row."""
ENTRIES_ON_GPU = 2**25
COARSE, FINE = 2.0**30, 2.0**38
"""Similarities are screened to one part in the first and told apart to one in the second."""
DENSE = 2**25
"""Products of positives and negatives above which some pair always needs settling."""
LIGHT = 2**22
"""Similarities below which threads cost more than they save."""
BARRED = np.iinfo(np.int32).min
ROUNDING = 1e-9
"""Precisions nearer than this are equal: they are sums of the same fractions."""


@dataclass(frozen=True)
class Pairs:
    """Whom a profile should find and among whom, as names of columns of a table.

    Positives have the label of the query, negatives have another. A profile that is neither is left
    out of the ranking.

    Parameters
    ----------
    label
        What replicates share.
    positives_differ
        A positive differs from the query in each of these.
    negatives_differ, negatives_share
        A negative differs from the query in each of the first, and shares each of the second.
    controls
        Boolean column; only where it is true can a profile be a negative.
    beside_positives
        Negatives have a value of this column that some positive of the query has.
    """

    label: str
    positives_differ: tuple[str, ...] = ()
    negatives_differ: tuple[str, ...] = ()
    negatives_share: tuple[str, ...] = ()
    controls: str | None = None
    beside_positives: str | None = None


def any_negatives(label: str, *, apart: tuple[str, ...] = ()) -> Pairs:
    """Seek replicates among all profiles of other labels.

    A positive differs in each column of `apart`, such as the position on a plate; without them,
    what replicates share beside biology helps to find them.
    """
    return Pairs(label, positives_differ=apart)


def control_negatives(
    label: str, batch: str, controls: str, *, apart: tuple[str, ...] = ()
) -> Pairs:
    """Seek replicates among the controls of the query's own batch: whether it is active at all.

    Controls have no negatives unless their batch has controls of another label.
    """
    return Pairs(label, positives_differ=apart, negatives_share=(batch,), controls=controls)


def across_batches(label: str, batch: str, *, apart: tuple[str, ...] = ()) -> Pairs:
    """Seek replicates in other batches, among profiles of other labels in those same batches.

    Nothing of the query's own batch is ranked and no batch without a positive, so that likeness of
    batches ranks positives and negatives alike. Labels should have a like share of the batches that
    they are in: where a batch with more replicates is more alike, that still helps.
    """
    return Pairs(
        label,
        positives_differ=(batch, *apart),
        negatives_differ=(batch,),
        beside_positives=batch,
    )


DEFINITIONS: dict[str, Callable[..., Pairs]] = {
    "any": any_negatives,
    "controls": control_negatives,
    "across batches": across_batches,
}


@dataclass(frozen=True)
class Retrieval:
    """What was found.

    Parameters
    ----------
    profiles
        In the order and with the index of the table: `label`, `positives`, `negatives`,
        `average_precision`, `chance` (its mean over random rankings), `normalised` (0 at chance,
        1 if perfect), `p_value`. Without positives or negatives these are NaN.
    groups
        Index `label`: `profiles`, `scored`, `positives` and `negatives` (sums over those scored),
        `mean_average_precision`, `chance`, `normalised` (means over those scored), `p_value`,
        `corrected_p_value` (Benjamini–Hochberg over the groups with one).
    without_positives, without_negatives
        Profiles that could not be scored; one may be both.
    null_size, seed
        Of the p-values, none of which is below 1 / (1 + null size).
    """

    pairs: Pairs
    profiles: pd.DataFrame
    groups: pd.DataFrame
    without_positives: int
    without_negatives: int
    null_size: int
    seed: int


def replicate_retrieval(
    embedding: Array,
    table: pd.DataFrame,
    pairs: Pairs,
    *,
    null_size: int = 10_000,
    seed: int = 0,
    count_ties: bool = False,
    entries: int | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Retrieval:
    """Rank the positives and negatives of each profile by cosine, and compare with shuffles.

    Average precision is the mean of the precision at the places of the positives. Similarities that
    are the same multiple of 2⁻³⁸ are ties and count as the mean over their orders, so that a
    constant embedding is at chance; copairs rounds similarities to float32 and places positives
    first. A row of zeros has similarity 0 with all.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    table
        N rows with the columns of `pairs`, none missing.
    null_size
        Shuffled rankings for each number of positives and negatives.
    count_ties
        Whether shuffles that equal the mean average precision of a group count against it. copairs
        counts only higher ones, which takes a perfect score for rare even where rankings are so
        short that shuffles are often perfect. For single profiles both count them.
    entries
        Similarities that a thread holds at once, of some 6 bytes each.
    threads
        As many as the linear algebra of NumPy may use by default.
    device
        ``"cuda"`` screens on a GPU, with the same result; by default the processor does.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, and columns that are absent, have
        missing values or are not boolean where that is asked.
    """
    if null_size < 1:
        raise ValueError(f"null_size must be at least 1, not {null_size}")
    if entries is not None and entries < 1:
        raise ValueError(f"entries must be at least 1, not {entries}")
    search = _Search(_directions(embedding, table), _columns(table, pairs), pairs, device)
    positives, negatives, precision = search.precisions(entries, threads)
    del search
    chance, null = _chances(positives, negatives, precision), _Null(null_size, seed)
    normalised = normalised_precision(precision, chance)
    profiles = pd.DataFrame(
        {
            "label": table[pairs.label].to_numpy(),
            "positives": positives,
            "negatives": negatives,
            "average_precision": precision,
            "chance": chance,
            "normalised": normalised,
            "p_value": null.of_profiles(positives, negatives, precision),
        },
        index=table.index,
    )
    return Retrieval(
        pairs,
        profiles,
        _groups(profiles, null, count_ties),
        int((positives == 0).sum()),
        int((negatives == 0).sum()),
        null_size,
        seed,
    )


def _directions(embedding: Array, table: pd.DataFrame) -> Array:
    if embedding.ndim != 2 or 0 in embedding.shape:
        raise ValueError(f"embedding must be a filled (N, D) matrix, not {embedding.shape}")
    if len(table) != len(embedding):
        raise ValueError(f"{len(table)} rows of the table for {len(embedding)} of the embedding")
    rows = embedding.astype(np.float64)
    wrong = ~np.isfinite(rows).all(1)
    if wrong.any():
        raise ValueError(f"profile {int(wrong.argmax())} holds a value that is not finite")
    largest = np.maximum(rows.max(1, keepdims=True), -rows.min(1, keepdims=True))
    rows /= np.where(largest > 0, largest, 1.0)  # so that no square over- or underflows
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    rows /= np.where(length > 0, length, 1.0)
    return rows


def _columns(table: pd.DataFrame, pairs: Pairs) -> dict[str, Array]:
    """Return codes of the columns that pairs name; controls are booleans."""
    others = (*pairs.positives_differ, *pairs.negatives_differ, *pairs.negatives_share)
    names = [pairs.label, *others, *filter(None, (pairs.controls, pairs.beside_positives))]
    codes = {}
    for name in dict.fromkeys(names):
        if name not in table:
            raise ValueError(f"the table has no column {name!r}")
        if table[name].isna().any():
            row = int(table[name].isna().to_numpy().argmax())
            raise ValueError(f"column {name!r} lacks a value for profile {row}")
        codes[name] = pd.factorize(table[name])[0].astype(np.int32)
    if pairs.controls is not None:
        if not pd.api.types.is_bool_dtype(table[pairs.controls]):
            raise ValueError(f"column {pairs.controls!r} must be boolean")
        codes[pairs.controls] = table[pairs.controls].to_numpy(bool, copy=True)
    return codes


class _Block(NamedTuple):
    """Queries that share a pool of possible negatives, with the positives of each.

    Positives are listed as `row`, the place of their query, and `column`, their own; `value` is
    their coarse similarity. Of `pool`, None is every profile.
    """

    queries: Array
    pool: Array | None
    rows: Array
    row: Array
    column: Array
    value: Array


class _Search:
    """Positives, negatives and average precision of each profile, by blocks of them."""

    def __init__(
        self, directions: Array, columns: dict[str, Array], pairs: Pairs, device: str | None
    ) -> None:
        self.directions, self.columns, self.pairs = directions, columns, pairs
        self.label = columns[pairs.label]
        self.members = np.split(
            np.argsort(self.label, kind="stable"), np.bincount(self.label).cumsum()[:-1]
        )
        items = len(directions)
        self.share = _crossed([columns[name] for name in pairs.negatives_share], items)
        every = np.ones(items, bool)
        self.eligible = every if pairs.controls is None else columns[pairs.controls]
        self.device = device_of(device)
        self.on_device: tuple[Any, dict[str, Any]] | None = None
        if self.device is not None:
            import torch

            kept = {name: torch.from_numpy(c).to(self.device) for name, c in columns.items()}
            self.on_device = torch.from_numpy(directions).to(self.device), kept
        self.positives, self.negatives = np.zeros(items, np.int64), np.zeros(items, np.int64)
        self.precision = np.full(items, np.nan)
        self.harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, items + 1))])

    def precisions(self, entries: int | None, threads: int | None) -> tuple[Array, Array, Array]:
        on_gpu = self.device is not None and self.device.type == "cuda"
        entries = entries or (ENTRIES_ON_GPU if on_gpu else ENTRIES)
        if self.device is not None:
            threads = 1
        elif threads is None:
            asking, asked = np.bincount(self.share), np.bincount(self.share, self.eligible)
            threads = 0 if asking @ asked < LIGHT else None
        share_out(self.score, self.blocks(entries), threads)
        return self.positives, self.negatives, self.precision

    def blocks(self, entries: int) -> Iterator[_Block]:
        keys = [codes for name, codes in self.columns.items() if name != self.pairs.controls]
        order = np.lexsort(keys[::-1])
        upto = np.cumsum(np.bincount(self.label)[self.label[order]])
        # Pairs of a chunk, which take more room than similarities do.
        listed = max(entries // 32, 4 * len(order))
        cuts = np.flatnonzero(np.diff(upto // listed)) + 1
        pools: dict[int, tuple[Array | None, Array]] = {}
        for queries in np.split(order, cuts):
            row, column, value = self.sought(queries, partial(_coarse, self.directions))
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
                    own = _spans(starts[part], counts[part])
                    at = np.repeat(np.arange(len(part)), counts[part])
                    yield _Block(queries[part], pool, rows, at, column[own], value[own])

    def pool(self, key: int) -> tuple[Array | None, Array]:
        """Return who may be a negative, and their directions."""
        held = (self.share == key) & self.eligible
        if held.all():
            return None, self.directions
        pool = np.flatnonzero(held)
        return pool, self.directions[pool]

    def sought(
        self, queries: Array, similarity: Callable[[Array, Array], Array]
    ) -> tuple[Array, Array, Array]:
        """Return place of the query, index and similarity of all positives; queries by label."""
        places, columns, values = [], [], []
        cuts = np.flatnonzero(np.diff(self.label[queries])) + 1
        for run in np.split(np.arange(len(queries)), cuts):
            own = queries[run]
            members = self.members[self.label[own[0]]]
            wanted = members != own[:, None]
            for name in self.pairs.positives_differ:
                codes = self.columns[name]
                wanted &= codes[members] != codes[own][:, None]
            row, column = np.nonzero(wanted)
            places.append(run[row])
            columns.append(members[column])
            values.append(similarity(own, members)[row, column])
        return np.concatenate(places), np.concatenate(columns), np.concatenate(values)

    def score(self, block: _Block) -> None:
        queries = block.queries
        positives = np.bincount(block.row, minlength=len(queries))
        on_gpu = self.on_device
        barred = (
            self.barred(block, self.columns) if on_gpu is None else self.barred_on_device(block)
        )
        negatives = barred.shape[1] - _marked(barred)
        self.positives[queries], self.negatives[queries] = positives, negatives
        scored = (positives > 0) & (negatives > 0)
        asked = scored[block.row]
        row, value = block.row[asked], block.value[asked]
        if len(row) * barred.shape[1] > DENSE * len(queries):
            above, reached = np.zeros(len(row), int), np.ones(len(row), int)
        elif on_gpu is None:
            near = _coarse(self.directions, queries, block.pool, block.rows)
            np.copyto(near, BARRED, where=barred)
            above, reached = _above(near, row, value, slack=1)
            del near
        else:
            above, reached = self.above_on_device(block, barred, row, value)
        del barred
        doubtful = np.bincount(row[above != reached], minlength=len(queries)) > 0
        clear = scored & ~doubtful
        mine = clear[row]
        own = (row[mine], value[mine], above[mine], reached[mine])
        total = _tied_precisions(*own, self.harmonic, len(queries))
        self.precision[queries[clear]] = (total / np.maximum(positives, 1))[clear]
        self.settle(block, np.flatnonzero(scored & doubtful))

    def barred(self, block: _Block, columns: dict[str, Any], index: Any = np.asarray) -> Any:
        """Return who is no negative of whom, `(queries, pool)`; columns on any device."""
        queries = index(block.queries)
        pool = slice(None) if block.pool is None else index(block.pool)
        label = columns[self.pairs.label]
        barred = label[queries][:, None] == label[pool]
        for name in self.pairs.negatives_differ:
            barred |= columns[name][queries][:, None] == columns[name][pool]
        if (beside := self.pairs.beside_positives) is not None:
            codes = self.columns[beside]
            lacking = np.ones((len(block.queries), int(codes.max()) + 1), bool)
            lacking[block.row, codes[block.column]] = False
            if beside in self.pairs.negatives_differ:  # barred already
                lacking[np.arange(len(lacking)), codes[block.queries]] = False
            some = np.flatnonzero(lacking.any(1))
            if len(some):
                barred[index(some)] |= index(lacking[some])[:, columns[beside][pool]]
        return barred

    def barred_on_device(self, block: _Block) -> Any:
        assert self.on_device is not None
        return self.barred(block, self.on_device[1], self.moved)

    def above_on_device(
        self, block: _Block, barred: Any, row: Array, value: Array
    ) -> tuple[Array, Array]:
        import torch

        assert self.on_device is not None
        directions = self.on_device[0]
        pool = slice(None) if block.pool is None else self.moved(block.pool)
        near = directions[self.moved(block.queries)] @ directions[pool].T
        near = near.mul_(COARSE).round_().to(torch.int32).masked_fill_(barred, int(BARRED))
        near = near.sort(dim=1).values
        rows, values = self.moved(row), self.moved(value)
        above = near.shape[1] - _below(near, rows, values + 2)
        reached = near.shape[1] - _below(near, rows, values - 1)
        return above.cpu().numpy(), reached.cpu().numpy()

    def moved(self, values: Array) -> Any:
        import torch

        return torch.from_numpy(values).to(self.device)

    def settle(self, block: _Block, rows: Array) -> None:
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
            near[self.barred(few, self.columns)] = -np.inf
            row, _, value = self.sought(queries, partial(_fine, self.directions))
            above, reached = _above(near, row, value, slack=0)
            total = _tied_precisions(row, value, above, reached, self.harmonic, len(part))
            self.precision[queries] = total / np.bincount(row, minlength=len(part))


def _crossed(codes: list[Array], items: int) -> Array:
    """Return one code for each combination."""
    crossed = np.zeros(items, np.int64)
    for code in codes:
        crossed = pd.factorize(crossed * (int(code.max()) + 1) + code)[0]
    return crossed


def _spans(starts: Array, counts: Array) -> Array:
    """Return start, start + 1, and so on, for each start as many as counted."""
    first = np.cumsum(counts) - counts
    spans: Array = np.repeat(starts - first, counts) + np.arange(int(counts.sum()))
    return spans


def _marked(table: Any) -> Array:
    """Count what is true in each row of an array or tensor."""
    if isinstance(table, np.ndarray):
        return np.array([np.count_nonzero(row) for row in table])  # quicker than a sum by rows
    return np.asarray(table.sum(1).cpu())


def _coarse(
    directions: Array, queries: Array, pool: Array | None, rows: Array | None = None
) -> Array:
    """Return cosines, `(queries, pool)`, as whole parts of the coarse grid."""
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
    """Return cosines as whole parts of the fine grid; what rounding could move is summed anew."""
    asked, candidates = directions[queries], directions[pool] if rows is None else rows
    cells = np.empty((len(queries), len(candidates)))
    # Both ways of summing are within D + 2 roundings of the truth.
    margin = 0.5 - 2 * (directions.shape[1] + 2) * 2.0**-53 * FINE
    step = max(256, 2**17 // len(queries))
    for start in range(0, len(candidates), step):
        part = candidates[start : start + step]
        product = asked @ part.T
        product *= FINE
        near = np.rint(product)
        product -= near
        unsure = np.flatnonzero(np.abs(product, out=product) > margin)
        row, column = np.divmod(unsure, len(part))
        near[row, column] = np.rint(np.einsum("ij,ij->i", asked[row], part[column]) * FINE)
        cells[:, start : start + step] = near
    return cells


def _above(near: Array, row: Array, value: Array, slack: int) -> tuple[Array, Array]:
    """Count, in the row of each value, what is above it by more than slack, and what is not below.

    What is below by up to the slack counts as not below. Rows of `near` may be sorted in place.
    """
    rows, items = near.shape
    high, low = value + slack, value - slack
    if len(value) < min(96, items // 256) * rows:  # a pass for each is quicker than sorting
        both = [
            (np.count_nonzero(near[r] > h), np.count_nonzero(near[r] >= g))
            for r, h, g in zip(row.tolist(), high, low, strict=True)
        ]
        above, reached = np.array(both, np.int64).reshape(-1, 2).T
        return above, reached
    near.sort(axis=1)
    if len(value) < 64 * rows:
        return items - _below(near, row, high + 1), items - _below(near, row, low)
    above, reached = np.empty(len(value), np.int64), np.empty(len(value), np.int64)
    cuts = np.flatnonzero(np.diff(row)) + 1
    for run in np.split(np.arange(len(row)), cuts):
        ranked = near[row[run[0]]]
        above[run] = items - np.searchsorted(ranked, high[run], "right")
        reached[run] = items - np.searchsorted(ranked, low[run])
    return above, reached


def _below(ranked: Any, row: Any, value: Any) -> Any:
    """Count what is below each value in its sorted row; arrays and tensors alike."""
    items = ranked.shape[1]
    below = 0 * row
    step = 1 << max(0, items.bit_length() - 1)
    while step and items:
        tried = below + step
        fits = ranked[row, tried.clip(max=items) - 1] < value
        below += step * (fits & (tried <= items))
        step //= 2
    return below


def _tied_precisions(
    row: Array, value: Array, above: Array, reached: Array, harmonic: Array, rows: int
) -> Array:
    """Sum the precision at the places of positives, over all orders of what is tied.

    Of n tied items, r of them positives, after t others with R positives, a positive is at each
    place i with probability r/n and has (i − 1)(r − 1)/(n − 1) of the tied positives before it.

    Parameters
    ----------
    row, value
        Query and similarity of each positive.
    above, reached
        Negatives of the query that are above it, and that are not below it.
    harmonic
        Harmonic numbers from that of 0.

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


def _chances(positives: Array, negatives: Array, precision: Array) -> Array:
    """Return the expected precision of random rankings, NaN where there is none."""

    @cache
    def chance(sought: int, total: int) -> float:
        return expected_precision(sought, total)

    scored = ~np.isnan(precision)
    return np.array(
        [
            chance(int(p), int(p + n)) if known else np.nan
            for p, n, known in zip(positives, negatives, scored, strict=True)
        ]
    )


class _Null:
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
        places = _distinct(rng, min(step, size - start), positives, total)
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


def _distinct(rng: np.random.Generator, rows: int, count: int, total: int) -> Array:
    """Draw `count` different numbers below `total` for each row, ascending.

    Repeats are drawn again, which favours no number, so that all sets are as likely.
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


def _groups(profiles: pd.DataFrame, null: _Null, count_ties: bool) -> pd.DataFrame:
    codes, labels = pd.factorize(profiles["label"], sort=True)
    sizes = np.bincount(codes, minlength=len(labels))
    scored = profiles["average_precision"].notna().to_numpy()
    codes = codes[scored]
    count = np.bincount(codes, minlength=len(labels))
    columns = ("positives", "negatives", "average_precision", "chance", "normalised")
    values = {name: profiles[name].to_numpy()[scored] for name in columns}
    sums = {name: np.bincount(codes, v, minlength=len(labels)) for name, v in values.items()}
    with np.errstate(invalid="ignore"):
        means = {name: total / count for name, total in sums.items()}  # NaN for none
    p_values = null.of_groups(
        values["positives"], values["negatives"], codes, means["average_precision"], count_ties
    )
    corrected, tested = p_values.copy(), ~np.isnan(p_values)
    if tested.any():
        corrected[tested] = false_discovery_control(p_values[tested])
    return pd.DataFrame(
        {
            "profiles": sizes,
            "scored": count,
            "positives": sums["positives"].astype(np.int64),
            "negatives": sums["negatives"].astype(np.int64),
            "mean_average_precision": means["average_precision"],
            "chance": means["chance"],
            "normalised": means["normalised"],
            "p_value": p_values,
            "corrected_p_value": corrected,
        },
        index=pd.Index(labels, name="label"),
    )
