"""Objects of one image, by their centres."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

# Names as in tables of CellProfiler, so that other tools know them.
NUMBER = "ObjectNumber"
X, Y = "Location_Center_X", "Location_Center_Y"
AREA = "AreaShape_Area"
BOX = tuple(
    f"AreaShape_BoundingBox{end}_{axis}" for end in ("Minimum", "Maximum") for axis in ("X", "Y")
)
CUT = "Object_TouchesBorder"


@dataclass(frozen=True)
class Objects:
    """What was found in one image.

    Parameters
    ----------
    table
        One row for each object: `NUMBER`, `X` and `Y` (0 is the centre of the first pixel), and
        what else is known.
    size
        Height and width of the image, where known.
    mask
        File of the mask, where there is one.
    """

    table: pd.DataFrame
    size: tuple[int, int] | None = None
    mask: Any = field(default=None)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Rows and columns, `(n, 2)`."""
        return self.table[[Y, X]].to_numpy(dtype=np.float64)


def objects_of_mask(labels: NDArray[np.integer]) -> pd.DataFrame:
    """Measure the objects of a label mask, in the order of their numbers.

    Maxima of bounding boxes lie one pixel beyond the object, as in CellProfiler.
    """
    numbers, places = np.unique(labels, return_inverse=True)
    places = places.reshape(labels.shape) + int(numbers[0] != 0)
    numbers = numbers[numbers != 0]
    every = np.arange(1, len(numbers) + 1)
    counts = np.bincount(places.ravel(), minlength=len(numbers) + 1)[1:]
    rows, columns = (
        np.bincount(places.ravel(), at.ravel(), len(numbers) + 1)[1:] / np.maximum(counts, 1)
        for at in np.indices(labels.shape)
    )
    ends: dict[str, list[int]] = {name: [] for name in BOX}
    for y, x in ndimage.find_objects(places, len(every)):
        for name, end in zip(BOX, (x.start, y.start, x.stop, y.stop), strict=True):
            ends[name].append(end)
    border = np.zeros(len(every), dtype=bool)
    for line in (places[0], places[-1], places[:, 0], places[:, -1]):
        touched = np.unique(line)
        border[touched[touched > 0] - 1] = True
    return pd.DataFrame(
        {NUMBER: numbers.astype(np.int64), X: columns, Y: rows, AREA: counts, **ends, CUT: border}
    )
