"""Plan the crops of one image, before any is cut."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from zoo.registry import DataError, ZooError

from ..._images.size import image_size
from ..dataset import Dataset, files_of
from .choice import Crops
from .cut import Places, at_edges, corners, grid
from .masks import Find
from .objects import NUMBER, Objects, X, Y


class Sizes:
    """Height and width of images, from the heads of files that hold one image each."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._files = [next(iter(files_of(dataset.read, i)), None) for i in range(len(dataset))]
        self._times = Counter(map(str, self._files))

    def __call__(self, i: int) -> tuple[int, int]:
        file = self._files[i]
        alone = file is not None and self._times[str(file)] == 1
        size = image_size(file) if file is not None and alone else None
        if size is None:
            pixels = self._dataset[i].pixels
            size = (pixels.shape[1], pixels.shape[2])
        return size


@dataclass(frozen=True)
class Planned:
    """Crops of one image: its objects, the corners of their boxes, and which are kept.

    An image that cannot be used has one row, and the reason.
    """

    objects: Objects
    corners: Places
    kept: Places
    reason: str = ""


def _unusable(error: ZooError) -> Planned:
    none = Objects(pd.DataFrame({NUMBER: [0]}))
    return Planned(none, np.zeros((1, 2), np.int64), np.zeros(1, np.int64), str(error))


def around_objects(
    dataset: Dataset, find: Find, sizes: Sizes, side: int, crops: Crops
) -> Callable[[int], Planned]:
    """Return what plans the crops around the objects of an image."""

    def plan(i: int) -> Planned:
        try:
            objects = find(i)
            size = sizes(i) if len(objects.table) or objects.size else (0, 0)
            _check_size(objects, size, dataset, i)
        except ZooError as error:
            return _unusable(error)
        found, kept = at_edges(corners(objects.centres, side), side, size, crops.edge)
        return Planned(replace(objects, size=size), found, np.flatnonzero(kept))

    return plan


def _check_size(objects: Objects, size: tuple[int, int], dataset: Dataset, i: int) -> None:
    """Raise `DataError` if a mask has another size than its image, or a centre lies beyond it."""
    if objects.size is not None and objects.size != size:
        name = f"the mask {objects.mask}" if objects.mask else "the mask"
        raise DataError(
            f"{name} has {objects.size[0]} × {objects.size[1]} pixels, but {_name(dataset, i)} has "
            f"{size[0]} × {size[1]}: masks must have the size of their images"
        )
    centres = objects.centres
    beyond = ((centres < -0.5) | (centres > np.asarray(size) - 0.5)).any(axis=1)
    if beyond.any():
        y, x = centres[int(beyond.argmax())]
        raise DataError(
            f"{int(beyond.sum())} of {len(centres)} centroids lie beyond {_name(dataset, i)} "
            f"({size[0]} × {size[1]} pixels), such as x {x:g}, y {y:g}: do they belong to it, and "
            "are they in its pixels?"
        )


def tiles(sizes: Sizes, i: int, side: int, stride: int, crops: Crops) -> Planned:
    """Plan the tiles of an image."""
    try:
        size = sizes(i)
    except ZooError as error:
        return _unusable(error)
    found, kept = at_edges(grid(size, side, stride), side, size, crops.edge)
    centres = found + (side - 1) / 2
    table = pd.DataFrame({NUMBER: np.arange(1, len(found) + 1), X: centres[:, 1], Y: centres[:, 0]})
    return Planned(Objects(table, size), found, np.flatnonzero(kept))


def _name(dataset: Dataset, i: int) -> str:
    if "image" in dataset.metadata:
        return str(dataset.metadata["image"].iloc[i])
    return f"image {i + 1}"
