"""Checking, centring and scaling of embeddings."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._blocks import CHUNK, blocks_of

Array = NDArray[Any]
Zeros = Literal["keep", "refuse"]
# Variation below this fraction of a feature's magnitude is rounding of float32.
RESOLUTION = 1e-5


def standardise(seen: Array, unseen: Array) -> tuple[Array, Array]:
    """Centre and scale features by the mean and sd of `seen`.

    A feature that varies less than float32 resolves at its magnitude is dead and becomes 0, so that
    rounding errors are not amplified into a signal.
    """
    centre = seen.mean(0, dtype=np.float64)
    inner, outer = seen - centre, unseen - centre
    spread = np.sqrt((inner**2).mean(0))
    largest = np.maximum(seen.max(0, initial=0), -seen.min(0, initial=0))
    alive = spread > RESOLUTION * largest
    gain = np.where(alive, 1 / np.where(alive, spread, 1.0), 0.0)
    inner *= gain
    outer *= gain
    return inner, outer


def centred(embedding: Array) -> Array:
    """Rows minus their mean in float64; dead dimensions become 0."""
    rows = embedding.astype(np.float64)
    rows -= rows.mean(0)
    dead = np.sqrt((rows**2).mean(0)) <= RESOLUTION * np.abs(embedding).max(0, initial=0)
    rows[:, dead] = 0
    return rows


def unit_rows(rows: Array, *, zeros: Zeros = "keep", name: str = "embedding") -> Array:
    """Scale rows to length 1, in float64.

    Parameters
    ----------
    rows
        `(N, D)`, finite.
    zeros
        Whether rows of zeros, which have no direction, stay zero or raise an error.
    name
        Name of the matrix in error messages.

    Raises
    ------
    ValueError
        For a row of zeros, if ``"refuse"``.
    """
    units = np.array(rows, np.float64)
    for block in blocks_of(len(units), CHUNK):
        part = units[block]
        largest = np.abs(part).max(1, keepdims=True, initial=0)
        if zeros == "refuse" and not largest.all():
            row = block.start + int(largest.argmin())
            raise ValueError(f"row {row} of {name} is all zeros, so its cosine is undefined")
        # Squares of tiny or huge numbers would underflow or overflow.
        part /= np.where(largest > 0, largest, 1.0)
        length = np.linalg.norm(part, axis=1, keepdims=True)
        part /= np.where(length > 0, length, 1.0)
    return units


def chunks(embedding: Array) -> Iterator[Array]:
    """Yield chunks of rows in float64."""
    for block in blocks_of(len(embedding), CHUNK):
        yield embedding[block].astype(np.float64)


def check_matrix(matrix: Array, name: str = "embedding", *, rows: int | None = None) -> Array:
    """Check that a matrix is `(N, D)`, not empty and finite, and return it as an array.

    Parameters
    ----------
    matrix
        Anything that `numpy.asarray` takes.
    name
        Name of the matrix in error messages.
    rows
        Required N, if any.

    Raises
    ------
    ValueError
        With the name, how many rows are not finite, and the first of them.
    """
    checked = np.asarray(matrix)
    if checked.ndim != 2 or 0 in checked.shape:
        raise ValueError(f"{name} must be a non-empty (N, D) matrix, not of shape {checked.shape}")
    if rows is not None and len(checked) != rows:
        raise ValueError(f"{name} has {len(checked)} rows, but {rows} are needed")
    if checked.dtype.kind not in "fiub":
        checked = checked.astype(np.float64)
    wrong = ~np.isfinite(checked).all(1)
    if wrong.any():
        raise ValueError(
            f"{name} has NaN or infinite numbers in {int(wrong.sum())} of {len(checked)} rows, "
            f"the first of them row {int(wrong.argmax())}"
        )
    return checked
