"""Depth: which planes of a z-stack become the image."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import ImageError

WAYS = ("max", "mean", "middle")
Z = str | int | None
CHOICE = "choose with z= (--z max, mean, middle, or a plane's number from 1)"


def check_z(z: Z) -> Z:
    """Return a way to project, or the number of a plane; raise `ValueError` for anything else."""
    if z is None or z in WAYS:
        return z
    if str(z).isdecimal() and int(z) >= 1:
        return int(z)
    raise ValueError(f"z is {z!r}, but must be max, mean, middle, or a plane's number from 1")


def needed(count: int, z: Z, name: str) -> Sequence[int]:
    """Return the places, in order of depth, of the planes that a projection needs.

    Raises
    ------
    ImageError
        If there are several planes and no choice, or no plane of that number.
    """
    if count == 1 and not isinstance(z, int):
        return (0,)
    if z is None:
        raise ImageError(f"{name} has {count} planes in depth: {CHOICE}")
    if z == "middle":
        return (count // 2,)
    if isinstance(z, int):
        if z > count:
            raise ImageError(f"{name} has {count} plane(s) in depth, but z is {z}")
        return (z - 1,)
    return range(count)


def project(planes: Iterable[NDArray[Any]], z: Z) -> NDArray[Any]:
    """Join planes in depth, read one after the other, to one of the same dtype."""
    total: NDArray[Any] | None = None
    count = 0
    for plane in planes:
        count += 1
        if total is None:
            dtype = plane.dtype
            total = plane.astype(np.float64) if z == "mean" else plane
        elif z == "mean":
            total += plane
        else:
            total = np.maximum(total, plane)
    if total is None:
        raise ImageError("there are no planes")
    if z != "mean":
        return total
    total /= count
    return (np.rint(total) if dtype.kind in "iu" else total).astype(dtype)
