"""Checked design of perturbations, controls and batches, and tables of p-values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._matrix import check_matrix

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
DRAWN = 2**21
"""Numbers held at once in draws of a null. Changing it changes the draws of a seed."""

NULL_SIZE = 1000
ROUNDING = 1e-9
"""Relative difference below which two values of a statistic are equal."""


def checked_design(
    embedding: Array, perturbations: Array, controls: Array, batches: Array | None, null_size: int
) -> tuple[Array, Array, Array, Array, Array, list[str]]:
    import pandas as pd

    rows = check_matrix(embedding).astype(np.float64, copy=False)
    items = len(rows)
    if null_size < 1:
        raise ValueError(f"null_size must be at least 1, not {null_size}")
    if np.shape(perturbations) != (items,):
        raise ValueError(f"perturbations must have one name for each of {items} profiles")
    control = np.asarray(controls)
    if control.shape != (items,) or control.dtype != bool:
        raise ValueError(f"controls must have a boolean for each of {items} profiles")
    if not control.any():
        raise ValueError("at least one control profile is required")
    notes: list[str] = []
    batch = np.zeros(items, np.intp)
    if batches is not None:
        if np.shape(batches) != (items,):
            raise ValueError(f"batches must have one entry for each of {items} profiles")
        batch = pd.factorize(np.asarray(batches, object))[0]
        if (batch < 0).any():
            raise ValueError(f"profile {int((batch < 0).argmax())} has no batch")
    code = np.full(items, -1)
    code[~control], names = pd.factorize(np.asarray(perturbations, object)[~control], sort=False)
    if (unnamed := int(((code < 0) & ~control).sum())) > 0:
        notes.append(f"{unnamed} profile(s) without a perturbation are left out.")
    if not len(names):
        notes.append("No profile has a perturbation other than the controls.")
    return rows, code, np.asarray(names, object), control, batch, notes


def members_by_code(code: Array, control: Array, count: int) -> Iterator[Array]:
    order = np.argsort(code, kind="stable")
    order = order[code[order] >= 0]
    sizes = np.bincount(code[order], minlength=count)
    if count:
        yield from np.split(order, np.cumsum(sizes)[:-1])


def counted(values: Array) -> tuple[list[int], list[int]]:
    found, counts = np.unique(values, return_counts=True)
    return found.tolist(), counts.tolist()


def p_value_of(null: Array, actual: float, size: float) -> float:
    return (1 + int((null >= actual - ROUNDING * size).sum())) / (1 + len(null))


def table_of(found: list[dict[str, Any]], names: Array, columns: list[str]) -> pd.DataFrame:
    import pandas as pd
    from scipy.stats import false_discovery_control

    table = pd.DataFrame(found, columns=columns, index=pd.Index(names, name="perturbation"))
    table = table.astype(dict.fromkeys(columns[:2], np.int64))
    table = table.astype(dict.fromkeys(columns[2:], np.float64))
    tested = table["p_value"].notna().to_numpy()
    corrected = np.full(len(table), np.nan)
    if tested.any():
        corrected[tested] = false_discovery_control(table["p_value"].to_numpy()[tested])
    return table.assign(corrected_p_value=corrected)
