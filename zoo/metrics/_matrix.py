"""Matrices of embeddings: checked, centred, scaled, in chunks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def standardise(seen: Array, unseen: Array) -> tuple[Array, Array]:
    """Centre and scale features by the mean and sd of `seen`.

    A feature that varies by less than float32 resolves beside its size is dead and becomes 0, so
    that rounding is not blown up into a signal.
    """
    centre, spread = seen.mean(0, dtype=np.float64), seen.std(0, dtype=np.float64)
    alive = spread > 1e-5 * np.abs(seen).max(0, initial=0)
    gain = np.where(alive, 1 / np.where(alive, spread, 1.0), 0.0)
    return (seen - centre) * gain, (unseen - centre) * gain


CHUNK = 4096
# A feature that varies by less than this beside its size is rounding of float32.
RESOLUTION = 1e-5


def centred(embedding: Array) -> Array:
    """Rows minus their mean in float64; dead dimensions become 0."""
    rows = embedding.astype(np.float64)
    rows -= rows.mean(0)
    dead = np.sqrt((rows**2).mean(0)) <= RESOLUTION * np.abs(embedding).max(0, initial=0)
    rows[:, dead] = 0
    return rows


def unit_rows(rows: Array) -> Array:
    """Scale rows to length 1; a row of zeros stays."""
    size = np.abs(rows).max(1, keepdims=True, initial=0)
    # Squares of tiny or huge numbers would leave the range of floats.
    scaled = rows / np.where(size > 0, size, 1.0)
    norm = np.linalg.norm(scaled, axis=1, keepdims=True)
    return scaled / np.where(norm > 0, norm, 1.0)


def chunks(embedding: Array) -> Iterator[Array]:
    """Yield a few rows at a time in float64."""
    for start in range(0, len(embedding), CHUNK):
        yield embedding[start : start + CHUNK].astype(np.float64)


def check_matrix(matrix: Array, name: str = "embedding", rows: int | None = None) -> None:
    """Refuse what is not `(rows, D)` or not finite.

    Raises
    ------
    ValueError
        Naming the matrix, how many rows are wrong, and the first of them.
    """
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"{name} must be (rows, dimensions), not of shape {matrix.shape}")
    if rows is not None and len(matrix) != rows:
        raise ValueError(f"{name} has {len(matrix)} rows, but {rows} are needed")
    wrong = ~np.isfinite(matrix).all(1)
    if wrong.any():
        raise ValueError(
            f"{name} has NaN or infinite numbers in {int(wrong.sum())} of {len(matrix)} rows, "
            f"the first of them row {int(wrong.argmax())}"
        )
