"""Geometry of synthetic cells: in their field, and each in its own window."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Cells:
    """Cells in and around a field.

    Parameters
    ----------
    centres
        Down and right, `(n, 2)`, in µm.
    types
        0 for A, 1 for B, `(n,)`.
    radius, ratio, angle
        Of the nucleus, `(n,)`: radius of a disc of its area in µm, axis ratio, direction of its
        long axis.
    size
        Radius it would have as a nucleus of type A, which determines the amounts of stains.
    draws
        Standard normals for everything else that varies between cells, `(n, 16)`.
    """

    centres: NDArray[np.float64]
    types: NDArray[np.int32]
    radius: NDArray[np.float64]
    ratio: NDArray[np.float64]
    angle: NDArray[np.float64]
    size: NDArray[np.float64]
    draws: NDArray[np.float64]


@dataclass(frozen=True)
class Parts:
    """Nucleus and coordinates at each pixel of each window, `(n, w, w)`.

    Parameters
    ----------
    nucleus
        Whether a pixel is in it.
    out
        0 in the centre of the cell, 1 at its rim, squared.
    along
        Along the long axis, 1 at the end of the nucleus.
    """

    nucleus: NDArray[np.bool_]
    out: Array
    along: Array

    @property
    def body(self) -> NDArray[np.bool_]:
        """Whether a pixel is in the cell."""
        return (self.out < 1) | self.nucleus

    @property
    def cytoplasm(self) -> NDArray[np.bool_]:
        """Whether a pixel is in the cell and not in its nucleus."""
        return (self.out < 1) & ~self.nucleus
