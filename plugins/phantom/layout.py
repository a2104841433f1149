"""Layout of wells on plates, and the level of each factor in each well."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .factors import FACTORS, Dials

Array = NDArray[np.float64]

# Rows and columns of commercial plates.
_FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))


@dataclass(frozen=True)
class Layout:
    """The wells of an experiment.

    Parameters
    ----------
    metadata
        One row for each well, plate by plate in the order of wells, with the level of every factor.
    walls
        Direction (down, right) of the nearest wall of the plate, `(n, 2)`, of length 1.
    """

    metadata: pd.DataFrame
    walls: Array


def lay_out(dials: Dials, seed: int) -> Layout:
    """Lay doses out on plates and factors in wells; equal dials and seeds give equal layouts.

    Doses are randomised on each plate. Factors that vary between wells cover their range evenly
    within each dose on each plate, so that they are matched between doses. Matched only over all
    plates, they would deviate on one plate against the others, and controls would score below
    chance. Factors that vary between plates cover their range evenly over plates.
    """
    rng = np.random.default_rng([seed, 1])
    count = dials.doses * dials.replicates
    height, width = next(f for f in _FORMATS if f[0] * f[1] >= count)
    doses = np.repeat(np.arange(dials.doses), dials.replicates)
    rows, walls, nearness = [], [], []
    for plate in range(dials.plates_count):
        places = np.sort(rng.choice(height * width, count, replace=False))
        lines, columns = np.divmod(places, width)
        # From the centre, 0, to the walls, 1 and -1.
        away = np.stack([lines / (height - 1), columns / (width - 1)], axis=1) * 2 - 1
        near = np.abs(away).max(axis=1)
        order = rng.permutation(count)
        if dials.rises.get("position", 0) > 0:
            order = order[np.argsort(near[order], kind="stable")]
        here = np.empty(count, dtype=int)
        here[order] = doses
        rows += [
            (f"P{plate + 1}", f"{_letters(line)}{column + 1:02d}", _letters(line), column + 1, dose)
            for line, column, dose in zip(
                lines.tolist(), columns.tolist(), here.tolist(), strict=True
            )
        ]
        nearness.append(near)
        walls.append(np.sign(away) * np.eye(2)[np.abs(away).argmax(axis=1)])
    metadata = pd.DataFrame(rows, columns=["plate", "well", "row", "column", "dose"])
    metadata.insert(0, "image", metadata["plate"] + "-" + metadata["well"])
    metadata["control"] = "sample"
    if dials.doses > 1:
        metadata.loc[metadata["dose"] == 0, "control"] = "negative"
        metadata.loc[metadata["dose"] == dials.doses - 1, "control"] = "positive"
    dose = metadata["dose"].to_numpy()
    plates = np.repeat(np.arange(dials.plates_count), count)
    for number, name in enumerate(FACTORS):
        if name == "position":
            level = np.concatenate(nearness) * dials.highest(name)
        else:
            level = np.full(len(dose), dials.fixed.get(name, 0.0))
            level += dials.rises.get(name, 0.0) * dose / max(dials.doses - 1, 1)
            own = np.random.default_rng([seed, 4, number])
            level += dials.wells.get(name, 0.0) * _even_within(plates * dials.doses + dose, own)
            shared = np.random.default_rng([seed, 5, number])
            level += dials.plates.get(name, 0.0) * _even(dials.plates_count, shared)[plates]
        metadata[name] = np.clip(level, 0.0, 1.0)  # rounding may end a hair beyond 1
    return Layout(metadata, np.concatenate(walls))


def _even(count: int, rng: np.random.Generator) -> Array:
    """Numbers in [0, 1), one from each of `count` equal parts, in random order."""
    spread: Array = (rng.permutation(count) + rng.uniform(size=count)) / count
    return spread


def _even_within(groups: NDArray[np.int_], rng: np.random.Generator) -> Array:
    """Spread numbers evenly over [0, 1) within each group."""
    spread = np.empty(len(groups))
    for group in np.unique(groups):
        members = groups == group
        spread[members] = _even(int(members.sum()), rng)
    return spread


def _letters(line: int) -> str:
    """Name a row as on plates: A to Z, then AA to AF."""
    return chr(ord("A") + line) if line < 26 else "A" + chr(ord("A") + line - 26)
