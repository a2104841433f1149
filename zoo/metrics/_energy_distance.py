"""Energy distance of the replicates of a perturbation to controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._blocks import blocks_of
from ._distances import distances_between
from ._draws import draw_by_keys
from ._matrix import check_matrix
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
class Magnitude:
    """Distance of the replicates of each perturbation from controls.

    Parameters
    ----------
    perturbations
        One row a perturbation, which is the index: `replicates`, `controls` (those it is compared
        with), `magnitude` (energy distance), `expected` (its mean over permutations), `p_value`,
        `corrected_p_value` (Benjamini–Hochberg over the perturbations that have a p-value). NaN
        where there is nothing to compare.
    null_size, seed
        Of the permutations; no p-value is below 1/(1 + `null_size`).
    notes
        What could not be compared, one sentence each.
    """

    perturbations: pd.DataFrame
    null_size: int
    seed: int
    notes: tuple[str, ...]


def magnitude(
    embedding: Array,
    perturbations: Array,
    controls: Array,
    *,
    batches: Array | None = None,
    null_size: int = NULL_SIZE,
    seed: int = 0,
) -> Magnitude:
    """Energy distance of the replicates of each perturbation to controls, with a permutation null.

    A few replicates are far away by chance, so the null permutes replicates and controls, and
    `expected` is the chance level. With batches, a perturbation is compared with the controls of
    its batches, and permuted within batches. Profiles are not aligned here: align them on controls
    first.

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
    null_size, seed
        Permutations, and their seed.

    Returns
    -------
    Magnitude
        Energy distances, at least 0, with their expected values and p-values.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, no controls, and missing batches.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import magnitude
    >>> names = np.array(["dmso"] * 20 + ["drug"] * 4)
    >>> embedding = np.random.default_rng(0).normal(size=(24, 5))
    >>> embedding[20:] += 3
    >>> found = magnitude(embedding, names, names == "dmso", null_size=200).perturbations
    >>> bool(found.loc["drug", "magnitude"] > 5 * found.loc["drug", "expected"])
    True
    """
    rows, code, names, control, batch, notes = checked_design(
        embedding, perturbations, controls, batches, null_size
    )
    unit = float(np.abs(rows).max()) or 1.0
    rows = rows / unit
    rows = rows - rows.mean(0)
    sums: dict[tuple[int, ...], tuple[Array, Array]] = {}
    found, without, lone = [], 0, 0
    for members in members_by_code(code, control, len(names)):
        row: dict[str, Any] = {"replicates": len(members), "controls": 0}
        present = tuple(np.unique(batch[members]).tolist())
        if present not in sums:
            pool = np.flatnonzero(control & np.isin(batch, present))
            sums[present] = pool, _distance_sums(rows[pool])
        pool, own = sums[present]
        # In a batch without controls there is nothing to permute with.
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
        null, actual = _permuted_energies(
            rows[everyone], total, strata, len(members), null_size, seed
        )
        row["magnitude"], row["expected"] = actual * unit, float(null.mean()) * unit
        row["p_value"] = p_value_of(null, actual, float(np.abs(total).max() / len(everyone)))
        found.append(row)
    if without:
        notes.append(f"{without} perturbation(s) are in a batch without controls, so no magnitude.")
    if lone:
        notes.append(f"{lone} perturbation(s) have one replicate, so its variation is unknown.")
    columns = ["replicates", "controls", "magnitude", "expected", "p_value"]
    return Magnitude(table_of(found, names, columns), null_size, seed, tuple(notes))


def energy_distance(x: Array, y: Array) -> float:
    """Energy distance 2E|X − Y| − E|X − X'| − E|Y − Y'| of two samples, at least 0.

    Distances are Euclidean, and the means are over all ordered pairs, each item with itself
    included (Székely and Rizzo, 2013). SciPy's, of single numbers, is the square root. By chance it
    is above 0: `magnitude` gives a null.

    Parameters
    ----------
    x, y
        `(n, D)` and `(m, D)`, finite.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For anything but two finite matrices with the same number of features.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import energy_distance
    >>> energy_distance(np.array([[0.0], [1.0]]), np.array([[3.0], [4.0]]))
    5.0
    """
    x, y = check_matrix(x, "x"), check_matrix(y, "y")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x has {x.shape[1]} features, but y has {y.shape[1]}")
    rows = np.concatenate([x, y]).astype(np.float64)
    unit = float(np.abs(rows).max()) or 1.0
    rows = rows / unit
    rows -= rows.mean(0)
    x, y = rows[: len(x)], rows[len(x) :]
    between = distances_between(x, y, "euclidean").mean()
    inside = sum(_distance_sums(side).sum() / len(side) ** 2 for side in (x, y))
    return max(0.0, float(2 * between - inside)) * unit


def _permuted_energies(
    rows: Array, total: Array, strata: Array, count: int, null_size: int, seed: int
) -> tuple[Array, float]:
    """Energy distance of permuted groups, and of the first `count` rows, from the rest.

    Distances within the chosen rows, and sums of distances from them to all rows, determine those
    between and within the rest, so no matrix of all distances is needed.

    Parameters
    ----------
    total
        Sum of the distances from each row to all rows.
    strata
        Rows are permuted within these.
    """
    everyone, rest = float(total.sum()), len(rows) - count
    names, sizes = counted(strata[:count])
    rng = np.random.default_rng([seed, count, len(rows)])
    step = max(1, DRAWN // max(len(rows), count * max(count, rows.shape[1])))

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
            place[draw_by_keys(rng, draws, size, len(place))]
            for place, size in zip(places, sizes, strict=True)
        ]
        null[start : start + draws] = energy(np.concatenate(chosen, axis=1))
    return null, max(0.0, float(energy(np.arange(count)[None])[0]))


def _distance_sums(rows: Array) -> Array:
    """Sum of the distances from each row to all rows."""
    sums = np.empty(len(rows))
    step = max(1, DRAWN // max(1, len(rows)))
    for block in blocks_of(len(rows), step):
        distance = distances_between(rows[block], rows, "euclidean")
        distance[np.arange(len(distance)), np.arange(block.start, block.stop)] = 0
        sums[block] = distance.sum(1)
    return sums
