"""Whether replicates of a perturbation agree, and how far they are from controls."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from ._mixing import distances_between

Array = NDArray[Any]
ENTRIES = 2**21
"""Numbers held at once for draws of a null."""
NULL_SIZE = 1000
ROUNDING = 1e-9
"""Share of a statistic's size below which it equals another."""


@dataclass(frozen=True)
class Consistency:
    """Agreement of replicates.

    Parameters
    ----------
    perturbations
        Index `perturbation`: `replicates`, `pairs`, `consistency` (mean cosine of the pairs),
        `expected` (its mean over draws of controls), `p_value`, `corrected_p_value`
        (Benjamini–Hochberg over those with one). NaN where there is nothing to compare.
    controls, null_size, seed
        Of the null; no p-value is below 1/(1 + null size).
    notes
        What could not be compared, one sentence each.
    """

    perturbations: pd.DataFrame
    controls: int
    null_size: int
    seed: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Magnitude:
    """Distance of replicates from controls.

    Parameters
    ----------
    perturbations
        Index `perturbation`: `replicates`, `controls` (those compared with), `magnitude` (energy
        distance), `expected` (its mean over permutations), `p_value`, `corrected_p_value`
        (Benjamini–Hochberg over those with one). NaN where there is nothing to compare.
    null_size, seed
        Of the permutations; no p-value is below 1/(1 + null size).
    notes
        What could not be compared, one sentence each.
    """

    perturbations: pd.DataFrame
    null_size: int
    seed: int
    notes: tuple[str, ...]


def consistency(
    embedding: Array,
    perturbations: Array,
    controls: Array,
    *,
    batches: Array | None = None,
    null_size: int = NULL_SIZE,
    seed: int = 0,
) -> Consistency:
    """Mean cosine of replicate pairs beside that of equally many controls, drawn at random.

    Profiles are taken as they are, and should have been aligned on controls. With batches, only
    pairs from different batches count, and as many controls are drawn from each batch as there are
    replicates in it, so that what batches share helps neither.

    Parameters
    ----------
    embedding
        `(N, D)`, finite; a row of zeros has cosine 0 with all.
    perturbations
        `(N,)` names; profiles without one are left out.
    controls
        `(N,)` booleans; controls are the null and are not scored.
    batches
        `(N,)`.
    """
    units, code, names, control, batch, notes = _design(
        embedding, perturbations, controls, batches, null_size
    )
    length = np.linalg.norm(units, axis=1, keepdims=True)
    units = units / np.where(length > 0, length, 1.0)
    draws: dict[tuple[tuple[int, int], ...], Array | None] = {}
    found, lone, short = [], 0, 0
    for members in _members(code, control, len(names)):
        counts = tuple(zip(*_counted(batch[members]), strict=True))
        size = len(members)
        pairs = (size**2 - (sum(n * n for _, n in counts) if batches is not None else size)) // 2
        row: dict[str, Any] = {"replicates": size, "pairs": pairs}
        if pairs == 0:
            lone += 1
            found.append(row)
            continue
        row["consistency"] = float(_agreement(units[members][None], batch[members], batches)[0])
        if counts not in draws:
            draws[counts] = _drawn(units, control, batch, counts, batches, null_size, seed)
        null = draws[counts]
        if null is None:
            short += 1
        else:
            row["expected"] = float(null.mean())
            row["p_value"] = _p_value(null, row["consistency"], 1.0)
        found.append(row)
    where = "" if batches is None else " in two batches"
    if lone:
        notes.append(f"{lone} perturbation(s) have no two replicates{where}: no consistency.")
    if short:
        where = "" if batches is None else " in some batch"
        notes.append(f"{short} perturbation(s) have more replicates than controls{where}: no p.")
    columns = ["replicates", "pairs", "consistency", "expected", "p_value"]
    table = _table(found, names, columns)
    return Consistency(table, int(control.sum()), null_size, seed, tuple(notes))


def magnitude(
    embedding: Array,
    perturbations: Array,
    controls: Array,
    *,
    batches: Array | None = None,
    null_size: int = NULL_SIZE,
    seed: int = 0,
) -> Magnitude:
    """Energy distance 2E|X − Y| − E|X − X'| − E|Y − Y'| of replicates X to controls Y.

    Means are over all ordered pairs, an item with itself included, and distances are Euclidean
    (Székely and Rizzo 2013; SciPy takes the root). Few replicates are far by chance, so the null
    permutes replicates and controls. With batches, a perturbation is compared with controls of its
    batches, and permuted within them. Profiles should have been aligned on controls.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    perturbations
        `(N,)` names; profiles without one are left out.
    controls
        `(N,)` booleans; controls are not scored.
    batches
        `(N,)`.
    """
    rows, code, names, control, batch, notes = _design(
        embedding, perturbations, controls, batches, null_size
    )
    unit = float(np.abs(rows).max()) or 1.0
    rows = rows / unit
    rows = rows - rows.mean(0)
    sums: dict[tuple[int, ...], tuple[Array, Array]] = {}
    found, without, lone = [], 0, 0
    for members in _members(code, control, len(names)):
        row: dict[str, Any] = {"replicates": len(members), "controls": 0}
        present = tuple(np.unique(batch[members]).tolist())
        if present not in sums:
            pool = np.flatnonzero(control & np.isin(batch, present))
            sums[present] = pool, _distance_sums(rows[pool])
        pool, own = sums[present]
        # A batch without controls has nothing to be permuted with.
        if set(present) - set(batch[pool].tolist()):
            without += 1
            found.append(row)
            continue
        lone += len(members) == 1
        row["controls"] = len(pool)
        everyone = np.concatenate([members, pool])
        across = distances_between(rows[members], rows[pool], "euclidean")
        within = _distance_sums(rows[members])
        total = np.concatenate([within + across.sum(1), own + across.sum(0)])
        strata = batch[everyone]
        null, actual = _energies(rows[everyone], total, strata, len(members), null_size, seed)
        row["magnitude"], row["expected"] = actual * unit, float(null.mean()) * unit
        row["p_value"] = _p_value(null, actual, float(np.abs(total).max() / len(everyone)))
        found.append(row)
    if without:
        notes.append(f"{without} perturbation(s) are in a batch without controls: no magnitude.")
    if lone:
        notes.append(f"{lone} perturbation(s) have one replicate, whose own spread is unknown.")
    columns = ["replicates", "controls", "magnitude", "expected", "p_value"]
    return Magnitude(_table(found, names, columns), null_size, seed, tuple(notes))


def energy_distance(x: Array, y: Array) -> float:
    """2E|X − Y| − E|X − X'| − E|Y − Y'| of two samples, `(n, D)` and `(m, D)`; at least 0."""
    if np.ndim(x) != 2 or np.ndim(y) != 2 or 0 in (*np.shape(x), *np.shape(y)):
        raise ValueError("energy distance is of two filled matrices, (n, D) and (m, D)")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"samples have {x.shape[1]} and {y.shape[1]} features")
    rows = np.concatenate([x, y]).astype(np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("a sample holds values that are not finite")
    unit = float(np.abs(rows).max()) or 1.0
    rows = rows / unit
    rows -= rows.mean(0)
    x, y = rows[: len(x)], rows[len(x) :]
    between = distances_between(x, y, "euclidean").mean()
    inside = sum(_distance_sums(side).sum() / len(side) ** 2 for side in (x, y))
    return max(0.0, float(2 * between - inside)) * unit


def _design(
    embedding: Array, perturbations: Array, controls: Array, batches: Array | None, null_size: int
) -> tuple[Array, Array, Array, Array, Array, list[str]]:
    if np.ndim(embedding) != 2 or 0 in np.shape(embedding):
        raise ValueError(
            f"embedding must be a filled (N, D) matrix, not of shape {np.shape(embedding)}"
        )
    rows = np.asarray(embedding, np.float64)
    items = len(rows)
    wrong = ~np.isfinite(rows).all(1)
    if wrong.any():
        raise ValueError(f"profile {int(wrong.argmax())} holds a value that is not finite")
    if null_size < 1:
        raise ValueError(f"null_size must be at least 1, not {null_size}")
    if np.shape(perturbations) != (items,):
        raise ValueError(f"perturbations must hold one name for each of {items} profiles")
    control = np.asarray(controls)
    if control.shape != (items,) or control.dtype != bool:
        raise ValueError(f"controls must hold a boolean for each of {items} profiles")
    if not control.any():
        raise ValueError("there is no control profile to compare with")
    notes: list[str] = []
    batch = np.zeros(items, np.intp)
    if batches is not None:
        if np.shape(batches) != (items,):
            raise ValueError(f"batches must hold one entry for each of {items} profiles")
        batch = pd.factorize(np.asarray(batches, object))[0]
        if (batch < 0).any():
            raise ValueError(f"profile {int((batch < 0).argmax())} has no batch")
    code = np.full(items, -1)
    code[~control], names = pd.factorize(np.asarray(perturbations, object)[~control], sort=False)
    if (nameless := int(((code < 0) & ~control).sum())) > 0:
        notes.append(f"{nameless} profile(s) without a perturbation are left out.")
    if not len(names):
        notes.append("No profile has a perturbation other than the controls.")
    return rows, code, np.asarray(names, object), control, batch, notes


def _members(code: Array, control: Array, count: int) -> Iterator[Array]:
    order = np.argsort(code, kind="stable")
    order = order[code[order] >= 0]
    sizes = np.bincount(code[order], minlength=count)
    if count:
        yield from np.split(order, np.cumsum(sizes)[:-1])


def _counted(values: Array) -> tuple[list[int], list[int]]:
    found, counts = np.unique(values, return_counts=True)
    return found.tolist(), counts.tolist()


def _agreement(units: Array, batch: Array, batches: Array | None) -> Array:
    """Mean cosine of pairs in each draw `(draws, n, D)`, of different batches if there are any."""
    total = units.sum(1)
    both = np.einsum("ij,ij->i", total, total)
    if batches is None:
        own = np.einsum("ijk,ijk->i", units, units)
        pairs = units.shape[1] * (units.shape[1] - 1)
    else:
        present, counts = _counted(batch)
        own = np.zeros(len(units))
        for name in present:
            part = units[:, batch == name].sum(1)
            own += np.einsum("ij,ij->i", part, part)
        pairs = len(batch) ** 2 - sum(n * n for n in counts)
    mean: Array = (both - own) / pairs
    return mean


def _drawn(
    units: Array,
    control: Array,
    batch: Array,
    counts: tuple[tuple[int, int], ...],
    batches: Array | None,
    null_size: int,
    seed: int,
) -> Array | None:
    """Agreement of controls drawn without replacement, so many from each batch; None if too few."""
    pools = [np.flatnonzero(control & (batch == name)) for name, _ in counts]
    if any(len(pool) < n for pool, (_, n) in zip(pools, counts, strict=True)):
        return None
    rng = np.random.default_rng([seed, *(value for count in counts for value in count)])
    size = sum(n for _, n in counts)
    widest = max(max(map(len, pools)), size * units.shape[1])
    step = max(1, ENTRIES // widest)
    drawn_batch = np.repeat([name for name, _ in counts], [n for _, n in counts])
    null = np.empty(null_size)
    for start in range(0, null_size, step):
        rows = min(step, null_size - start)
        chosen = [
            pool[_distinct(rng, rows, n, len(pool))]
            for pool, (_, n) in zip(pools, counts, strict=True)
        ]
        picked = units[np.concatenate(chosen, axis=1)]
        null[start : start + rows] = _agreement(picked, drawn_batch, batches)
    return null


def _distinct(rng: np.random.Generator, rows: int, count: int, total: int) -> Array:
    """Draw `count` different numbers below `total` for each row."""
    keys = rng.random((rows, total))
    if count == total:
        return np.argsort(keys, axis=1)
    return np.argpartition(keys, count - 1, axis=1)[:, :count]


def _energies(
    rows: Array, total: Array, strata: Array, count: int, null_size: int, seed: int
) -> tuple[Array, float]:
    """Energy distance of permuted groups, and of the first `count` rows, from the rest.

    Distances within the chosen and the sums of theirs to all give those between and within the
    rest, so that no matrix of all distances is held.

    Parameters
    ----------
    total
        Sum of the distances of each row to all.
    strata
        Rows are permuted within these.
    """
    everyone, rest = float(total.sum()), len(rows) - count
    names, sizes = _counted(strata[:count])
    rng = np.random.default_rng([seed, count, len(rows)])
    step = max(1, ENTRIES // max(len(rows), count * max(count, rows.shape[1])))

    def energy(chosen: Array) -> Array:
        picked = rows[chosen]  # (draws, n, D)
        squares = np.einsum("ijk,ijk->ij", picked, picked)
        apart = squares[:, :, None] + squares[:, None] - 2 * picked @ picked.transpose(0, 2, 1)
        scale = squares[:, :, None] + squares[:, None]
        apart = np.where(apart > 1e-14 * scale, apart, 0.0)
        inside = np.sqrt(apart, out=apart).sum((1, 2))
        reaching = total[chosen].sum(1)
        between = (reaching - inside) / (count * rest)
        others = (everyone - 2 * reaching + inside) / rest**2
        distance: Array = 2 * between - inside / count**2 - others
        return distance

    null = np.empty(null_size)
    places = [np.flatnonzero(strata == name) for name in names]
    for start in range(0, null_size, step):
        draws = min(step, null_size - start)
        chosen = [
            place[_distinct(rng, draws, size, len(place))]
            for place, size in zip(places, sizes, strict=True)
        ]
        null[start : start + draws] = energy(np.concatenate(chosen, axis=1))
    return null, max(0.0, float(energy(np.arange(count)[None])[0]))


def _distance_sums(rows: Array) -> Array:
    """Sum the distances of each row to all."""
    sums = np.empty(len(rows))
    step = max(1, ENTRIES // max(1, len(rows)))
    for start in range(0, len(rows), step):
        block = slice(start, min(start + step, len(rows)))
        distance = distances_between(rows[block], rows, "euclidean")
        distance[np.arange(len(distance)), np.arange(block.start, block.stop)] = 0
        sums[block] = distance.sum(1)
    return sums


def _p_value(null: Array, actual: float, size: float) -> float:
    return (1 + int((null >= actual - ROUNDING * size).sum())) / (1 + len(null))


def _table(found: list[dict[str, Any]], names: Array, columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(found, columns=columns, index=pd.Index(names, name="perturbation"))
    table = table.astype(dict.fromkeys(columns[:2], np.int64))
    table = table.astype(dict.fromkeys(columns[2:], np.float64))
    tested = table["p_value"].notna().to_numpy()
    corrected = np.full(len(table), np.nan)
    if tested.any():
        corrected[tested] = false_discovery_control(table["p_value"].to_numpy()[tested])
    return table.assign(corrected_p_value=corrected)
