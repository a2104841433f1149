"""Geometry of an embedding, in time and memory linear in the rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._matrix import RESOLUTION, check_matrix, chunks, unit_rows

Array = NDArray[Any]
MIN_PARTICIPATION = 3.0
MAX_COSINE = 0.9


@dataclass(frozen=True)
class Geometry:
    """Spread of an embedding over its dimensions.

    Parameters
    ----------
    participation_ratio
        (Σλ)²/Σλ² of the eigenvalues of the covariance: D for a sphere, 1 for a line, 0 if nothing
        varies.
    effective_rank
        exp of the entropy of λ/Σλ (Roy and Vetterli, 2007), with the same extremes.
    first_share
        Share of the variance along the first principal axis, 1/D to 1; NaN if nothing varies.
    mean_cosine
        Mean cosine of all pairs of different rows: 1 if all point the same way, 0 for directions
        drawn uniformly. A row of zeros counts as orthogonal to every other.
    dead
        Dimensions that do not vary beyond the rounding of float32.
    dimensions
        All dimensions.
    """

    participation_ratio: float
    effective_rank: float
    first_share: float
    mean_cosine: float
    dead: int
    dimensions: int

    @property
    def collapse(self) -> str | None:
        """Why the embedding counts as collapsed, as a sentence; None if it does not."""
        reasons = []
        if self.participation_ratio < MIN_PARTICIPATION:
            reasons.append(
                f"its participation ratio is {self.participation_ratio:.2f}, "
                f"below {MIN_PARTICIPATION:g}"
            )
        if self.mean_cosine > MAX_COSINE:
            reasons.append(f"its mean cosine is {self.mean_cosine:.3f}, above {MAX_COSINE:g}")
        return f"the embedding is collapsed: {' and '.join(reasons)}" if reasons else None


def geometry(embedding: Array) -> Geometry:
    """How an embedding uses its dimensions, and whether it has collapsed.

    Parameters
    ----------
    embedding
        `(N, D)`, finite, two rows or more.

    Returns
    -------
    Geometry
        `Geometry.collapse` says why it counts as collapsed, or is None.

    Raises
    ------
    ValueError
        For fewer than two rows, and NaN or infinite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import geometry
    >>> found = geometry(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    >>> round(found.participation_ratio, 3), round(found.first_share, 3)
    (2.0, 0.5)
    """
    check_matrix(embedding)
    n, d = embedding.shape
    if n < 2:
        raise ValueError(f"geometry needs at least two rows, but there is {n}")
    matrix, dead = covariance(embedding)
    spectrum = np.linalg.eigvalsh(matrix).clip(0)[::-1]
    direction = np.zeros(d)
    nonzero = 0
    for rows in chunks(embedding):
        unit = unit_rows(rows)
        direction += unit.sum(0)
        nonzero += int(rows.any(1).sum())
    cosine = float((direction @ direction - nonzero) / (n * (n - 1)))
    dead_count = int(dead.sum())
    if dead_count == d:
        return Geometry(0.0, 0.0, float("nan"), cosine, dead_count, d)
    share = spectrum / spectrum.sum()
    known = share[share > 0]
    return Geometry(
        participation_ratio=float(1 / (share @ share)),
        effective_rank=float(np.exp(-(known @ np.log(known)))),
        first_share=float(share[0]),
        mean_cosine=cosine,
        dead=dead_count,
        dimensions=d,
    )


def covariance(embedding: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Covariance over the rows, `(D, D)` and divided by N, and which dimensions are dead, `(D,)`.

    Rows and columns of dead dimensions are 0.
    """
    n, d = embedding.shape
    centre = embedding.mean(0, dtype=np.float64)
    total = np.zeros((d, d))
    for rows in chunks(embedding):
        total += (rows - centre).T @ (rows - centre)
    total /= n
    dead = np.sqrt(total.diagonal()) <= RESOLUTION * np.abs(embedding).max(0, initial=0)
    total[dead] = 0
    total[:, dead] = 0
    return total, dead
