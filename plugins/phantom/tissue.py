"""Arrangement of cells of two types: mixed, or separated in patches."""

import numpy as np
from numpy.typing import NDArray

WAVELENGTH = 130.0  # µm from a patch to the next one of its type
_WAVES = 24


def assign_types(
    centres: NDArray[np.float64], mixture: float, arrangement: float, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Assign types to cells, `(n,)`: 0 for A, 1 for B.

    A cell's rank is a sum of a smooth pattern at its place and of its own noise, with the shares of
    variance `arrangement` and the rest; the highest ranks are B. So neither the positions nor the
    number of B depend on the arrangement.

    Parameters
    ----------
    centres
        `(n, 2)`, in µm.
    mixture
        Share of B; the number is rounded up or down at random.
    arrangement
        0 mixes the types at random, 1 keeps them in patches.
    """
    n = len(centres)
    count = int(mixture * n + rng.uniform())
    rank = np.sqrt(arrangement) * patches(centres, rng)
    rank += np.sqrt(1 - arrangement) * rng.standard_normal(n)
    types = np.zeros(n, np.int32)
    types[np.argsort(-rank, kind="stable")[:count]] = 1
    return types


def patches(centres: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth random pattern of variance 1 at some places, without waves longer than its patches.

    A sum of plane waves of about one length in all directions. Long waves are left out because
    they would give whole fields, and what a crop shows of them, more of one type.
    """
    angle = rng.uniform(0, 2 * np.pi, _WAVES)
    number = 2 * np.pi / WAVELENGTH * np.exp(0.15 * rng.standard_normal(_WAVES))
    phase = rng.uniform(0, 2 * np.pi, _WAVES)
    waves = np.stack([np.cos(angle), np.sin(angle)]) * number
    pattern: NDArray[np.float64] = np.sqrt(2 / _WAVES) * np.cos(centres @ waves + phase).sum(axis=1)
    return pattern
