"""Replicate retrieval: whether profiles of a label are nearer to each other than to the rest.

Mean average precision as Kalinin et al. define it (Nature Communications 16, 5181, 2025; copairs):
positives and negatives of each profile are ranked by cosine, and shuffled rankings are the null.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from ._metrics import expected_precision

Array = NDArray[Any]
ENTRIES = 2**23
"""Similarities held at once; a block is this many, or one row."""
GRID = 2.0**30
"""Similarities are told apart to one part in this."""
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
    entries: int = ENTRIES,
) -> Retrieval:
    """Rank the positives and negatives of each profile by cosine, and compare with shuffles.

    Average precision is the mean of the precision at the places of the positives. Similarities that
    agree within 1e-9 are ties and count as the mean over their orders, so that a constant embedding
    is at chance; copairs places positives first. A row of zeros has similarity 0 with all.

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
        Similarities held at once, of up to 8 bytes each.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, and columns that are absent, have
        missing values or are not boolean where that is asked.
    """
    if null_size < 1:
        raise ValueError(f"null_size must be at least 1, not {null_size}")
    directions = _directions(embedding, table)
    columns = _columns(table, pairs)
    positives, negatives, precision = _precisions(directions, columns, pairs, entries)
    chance, null = _chances(positives, negatives, precision), _Null(null_size, seed)
    with np.errstate(invalid="ignore"):
        normalised = (precision - chance) / (1 - chance)
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
    largest = np.abs(rows).max(1, keepdims=True)
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
        codes[pairs.controls] = table[pairs.controls].to_numpy(bool)
    return codes


def _precisions(
    directions: Array, columns: dict[str, Array], pairs: Pairs, entries: int
) -> tuple[Array, Array, Array]:
    """Return positives, negatives and average precision of each profile, by blocks of them."""
    items = len(directions)
    positives, negatives = np.zeros(items, np.int64), np.zeros(items, np.int64)
    precision = np.full(items, np.nan)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, items + 1))])
    keys = [codes for name, codes in columns.items() if name != pairs.controls]
    order = np.lexsort(keys[::-1])
    step = max(1, entries // items)
    for start in range(0, items, step):
        queries = order[start : start + step]
        pool = _pool(columns, pairs, queries)
        similarity = _similarities(directions, queries, pool)
        for run in _runs([key[queries] for key in keys]):
            query = queries[run]
            sought, others = _places(columns, pairs, int(query[0]), pool)
            scores = similarity[run]
            rivals = np.take(scores, others, axis=1)
            for i, row, against in zip(query, scores, rivals, strict=True):
                own = row[sought[pool[sought] != i]]
                positives[i], negatives[i] = len(own), len(against)
                if len(own) and len(against):
                    precision[i] = _tied_precision(own, against, harmonic)
    return positives, negatives, precision


def _pool(columns: dict[str, Array], pairs: Pairs, queries: Array) -> Array:
    """Return all profiles that may be ranked for some of the queries."""
    label = columns[pairs.label]
    if pairs.controls is None:
        return np.arange(len(label))
    return np.flatnonzero(columns[pairs.controls] | np.isin(label, np.unique(label[queries])))


def _similarities(directions: Array, queries: Array, pool: Array) -> Array:
    """Return cosines, `(queries, pool)`, as whole parts of a grid on which rounding is no order."""
    similarity = np.empty((len(queries), len(pool)), np.int32)
    asked, step = directions[queries], max(256, 2**20 // len(queries))
    for start in range(0, len(pool), step):
        part = slice(start, start + step)
        product = asked @ directions[pool[part]].T
        product *= GRID
        similarity[:, part] = np.rint(product, out=product)
    return similarity


def _runs(keys: list[Array]) -> Iterator[slice]:
    """Yield stretches of sorted queries whose conditions are the same."""
    changed = np.any([np.diff(key) != 0 for key in keys], axis=0)
    bounds = [0, *(np.flatnonzero(changed) + 1).tolist(), len(keys[0])]
    for start, stop in pairwise(bounds):
        yield slice(start, stop)


def _places(
    columns: dict[str, Array], pairs: Pairs, query: int, pool: Array
) -> tuple[Array, Array]:
    """Return the places in a pool of the positives, the query perhaps among them, and negatives."""

    def equal(name: str) -> Array:
        return columns[name][pool] == columns[name][query]

    same = equal(pairs.label)
    sought, others = same.copy(), ~same
    for name in pairs.positives_differ:
        sought &= ~equal(name)
    for name in pairs.negatives_differ:
        others &= ~equal(name)
    for name in pairs.negatives_share:
        others &= equal(name)
    if pairs.controls is not None:
        others &= columns[pairs.controls][pool]
    if pairs.beside_positives is not None:
        beside = columns[pairs.beside_positives][pool]
        held = np.zeros(int(beside.max(initial=0)) + 1, bool)
        held[beside[sought & (pool != query)]] = True
        others &= held[beside]
    return np.flatnonzero(sought), np.flatnonzero(others)


def _tied_precision(own: Array, against: Array, harmonic: Array) -> float:
    """Average the precision at the places of positives, over all orders of what is tied.

    Of n tied items, r of them positives, after t others with R positives, a positive is at each
    place i with probability r/n and has (i − 1)(r − 1)/(n − 1) of the tied positives before it.

    Parameters
    ----------
    own
        Similarity of the positives.
    against
        Similarity of the negatives.
    harmonic
        Harmonic numbers from that of 0.
    """
    values, tied_positives = np.unique(own, return_counts=True)
    values, tied_positives = values[::-1], tied_positives[::-1]
    higher, reaching = _above(against, values)
    before = np.cumsum(tied_positives) - tied_positives
    above = before + higher
    tied = tied_positives + reaching - higher
    steps = harmonic[above + tied] - harmonic[above]
    ranked = tied - (above + 1) * steps
    mixed = (before + 1) * steps + (tied_positives - 1) / np.maximum(tied - 1, 1) * ranked
    alone = (before + 1) / (above + 1)
    total = np.where(tied == 1, alone, tied_positives / tied * mixed).sum()
    return float(total / len(own))


def _above(against: Array, values: Array) -> tuple[Array, Array]:
    """Count for each value what is above it, and what is not below it."""
    if len(values) < min(128, len(against) // 256):  # a pass for each is quicker than sorting
        higher = [np.count_nonzero(against > value) for value in values]
        return np.array(higher), np.array([np.count_nonzero(against >= value) for value in values])
    ranked = np.sort(against)
    below, upto = np.searchsorted(ranked, values), np.searchsorted(ranked, values, "right")
    return len(ranked) - upto, len(ranked) - below


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
        kept = max(1, 2**23 // size)
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

    def of_group(self, members: pd.DataFrame, count_ties: bool) -> float:
        """Compare a mean with means of shuffles; profiles of one kind share their shuffles.

        This is as copairs has it, and as if members always rose and fell together: cautious.
        """
        positives, negatives = (members[c].to_numpy() for c in ("positives", "negatives"))
        mean = np.zeros(self.size)
        for sought, total, alike in _kinds(positives, negatives):
            mean += len(alike) / len(members) * self.draws(sought, total)
        least = members["average_precision"].mean() + (-ROUNDING if count_ties else ROUNDING)
        return (1 + int((mean > least).sum())) / (1 + self.size)


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
    sparse = 2 * positives <= total
    step = max(1, 2**20 // (positives if sparse else total))
    hits = np.arange(1, positives + 1)
    found = np.empty(size)
    for start in range(0, size, step):
        rows = min(step, size - start)
        if sparse:
            places = _distinct(rng, rows, positives, total)
        else:
            missed = np.zeros((rows, total), bool)
            taken = _distinct(rng, rows, total - positives, total)
            np.put_along_axis(missed, taken, True, axis=1)
            places = np.nonzero(~missed)[1].reshape(rows, positives)
        found[start : start + rows] = (hits / (places + 1)).mean(1)
    return found


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
    scored = profiles.dropna(subset="average_precision")
    by_label = scored.groupby("label", observed=True)
    groups = by_label.agg(
        scored=("average_precision", "size"),
        positives=("positives", "sum"),
        negatives=("negatives", "sum"),
        mean_average_precision=("average_precision", "mean"),
        chance=("chance", "mean"),
        normalised=("normalised", "mean"),
    )
    p_values = {label: null.of_group(members, count_ties) for label, members in by_label}
    groups["p_value"] = pd.Series(p_values, dtype=float)
    tested = groups["p_value"].to_numpy()
    groups["corrected_p_value"] = false_discovery_control(tested) if len(tested) else tested
    sizes = profiles.groupby("label", observed=True).size().rename("profiles")
    groups = sizes.to_frame().join(groups)
    whole = ["scored", "positives", "negatives"]
    groups[whole] = groups[whole].fillna(0).astype(np.int64)
    return groups
