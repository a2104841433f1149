"""Consistency: cosine similarity of the replicates of a perturbation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._draws import draw_by_keys
from ._matrix import unit_rows
from ._perturbations import (
    DRAWN,
    NULL_SIZE,
    checked_design,
    counted,
    members_by_code,
    p_value_of,
    table_of,
)

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


@dataclass(frozen=True)
class Consistency:
    """Similarity of the replicates of each perturbation.

    Parameters
    ----------
    perturbations
        One row a perturbation, which is the index: `replicates`, `pairs`, `consistency` (mean
        cosine of the pairs), `expected` (its mean over draws of controls), `p_value`,
        `corrected_p_value` (Benjamini–Hochberg over the perturbations that have a p-value). NaN
        where there is nothing to compare.
    controls, null_size, seed
        Of the null distribution; no p-value is below 1/(1 + `null_size`).
    notes
        What could not be compared, one sentence each.
    """

    perturbations: pd.DataFrame
    controls: int
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
    """Mean cosine of replicate pairs, in [-1, 1], against that of equally many random controls.

    Profiles are not aligned here: align them on controls first. With batches, only pairs from
    different batches count, and the null draws as many controls from each batch as there are
    replicates in it, so that batch effects help neither.

    Parameters
    ----------
    embedding
        `(N, D)`, finite; a row of zeros has cosine 0 with all.
    perturbations
        `(N,)` names; profiles without one are left out.
    controls
        `(N,)` booleans; controls form the null and are not scored.
    batches
        `(N,)`.
    null_size, seed
        Random draws of controls, and their seed.

    Returns
    -------
    Consistency
        With the expected value of controls, and p-values.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, no controls, and missing batches.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import consistency
    >>> names = np.array(["dmso"] * 20 + ["drug"] * 4)
    >>> embedding = np.random.default_rng(0).normal(size=(24, 5))
    >>> embedding[20:] += 3
    >>> found = consistency(embedding, names, names == "dmso", null_size=200).perturbations
    >>> float(found.loc["drug", "consistency"].round(1)), bool(found.loc["drug", "p_value"] < 0.05)
    (0.9, True)
    """
    rows, code, names, control, batch, notes = checked_design(
        embedding, perturbations, controls, batches, null_size
    )
    units = unit_rows(rows)
    draws: dict[tuple[tuple[int, int], ...], Array | None] = {}
    found, lone, short = [], 0, 0
    for members in members_by_code(code, control, len(names)):
        counts = tuple(zip(*counted(batch[members]), strict=True))
        size = len(members)
        pairs = (size**2 - (sum(n * n for _, n in counts) if batches is not None else size)) // 2
        row: dict[str, Any] = {"replicates": size, "pairs": pairs}
        if pairs == 0:
            lone += 1
            found.append(row)
            continue
        row["consistency"] = float(
            _mean_pair_cosine(units[members][None], batch[members], batches)[0]
        )
        if counts not in draws:
            draws[counts] = _null_of_controls(
                units, control, batch, counts, batches, null_size, seed
            )
        null = draws[counts]
        if null is None:
            short += 1
        else:
            row["expected"] = float(null.mean())
            row["p_value"] = p_value_of(null, row["consistency"], 1.0)
        found.append(row)
    where = "" if batches is None else " in different batches"
    if lone:
        notes.append(f"{lone} perturbation(s) have no two replicates{where}, so no consistency.")
    if short:
        where = "" if batches is None else " in some batch"
        notes.append(
            f"{short} perturbation(s) have more replicates than controls{where}, so no p-value."
        )
    columns = ["replicates", "pairs", "consistency", "expected", "p_value"]
    table = table_of(found, names, columns)
    return Consistency(table, int(control.sum()), null_size, seed, tuple(notes))


def _mean_pair_cosine(units: Array, batch: Array, batches: Array | None) -> Array:
    """Mean cosine of pairs in each draw, `(draws, n, D)`; with batches, of different ones."""
    total = units.sum(1)
    both = np.einsum("ij,ij->i", total, total)
    if batches is None:
        own = np.einsum("ijk,ijk->i", units, units)
        pairs = units.shape[1] * (units.shape[1] - 1)
    else:
        present, counts = counted(batch)
        own = np.zeros(len(units))
        for name in present:
            part = units[:, batch == name].sum(1)
            own += np.einsum("ij,ij->i", part, part)
        pairs = len(batch) ** 2 - sum(n * n for n in counts)
    mean: Array = (both - own) / pairs
    return mean


def _null_of_controls(
    units: Array,
    control: Array,
    batch: Array,
    counts: tuple[tuple[int, int], ...],
    batches: Array | None,
    null_size: int,
    seed: int,
) -> Array | None:
    """Null distribution: controls drawn without replacement, as many per batch; None if too few."""
    pools = [np.flatnonzero(control & (batch == name)) for name, _ in counts]
    if any(len(pool) < n for pool, (_, n) in zip(pools, counts, strict=True)):
        return None
    rng = np.random.default_rng([seed, *(value for count in counts for value in count)])
    size = sum(n for _, n in counts)
    widest = max(max(map(len, pools)), size * units.shape[1])
    step = max(1, DRAWN // widest)
    drawn_batch = np.repeat([name for name, _ in counts], [n for _, n in counts])
    null = np.empty(null_size)
    for start in range(0, null_size, step):
        rows = min(step, null_size - start)
        chosen = [
            pool[draw_by_keys(rng, rows, n, len(pool))]
            for pool, (_, n) in zip(pools, counts, strict=True)
        ]
        picked = units[np.concatenate(chosen, axis=1)]
        null[start : start + rows] = _mean_pair_cosine(picked, drawn_batch, batches)
    return null
