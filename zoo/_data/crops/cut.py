"""Cut boxes out of images; those at an edge by a rule."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import DataError, ImageError

from ..._images.image import Image
from ..dataset import Reader, files_of, is_thread_safe
from ..once import Once
from .choice import Edge

Places = NDArray[np.int64]
# Two pixel sizes that differ by more, as a share, are not the same.
_SAME = 1e-3
# Crops of one image follow each other; another image may be read ahead.
_KEPT = 2


def corners(centres: NDArray[np.float64], side: int) -> Places:
    """Return the upper left corners of boxes around centres, `(n, 2)`; pixel 0 has its at 0."""
    return np.floor(centres - side / 2 + 1).astype(np.int64)


def at_edges(found: Places, side: int, size: tuple[int, int], edge: Edge) -> tuple[Places, Any]:
    """Return corners of boxes after the rule for edges, and which boxes are kept, `(n,)` bool."""
    most = np.asarray(size) - side
    inside = ((found >= 0) & (found <= most)).all(axis=1)
    if edge == "pad":
        return found, np.ones(len(found), dtype=bool)
    if edge == "shift":
        fits = bool((most >= 0).all())
        return np.clip(found, 0, np.maximum(most, 0)), np.full(len(found), fits)
    return found, inside


def grid(size: tuple[int, int], side: int, stride: int) -> Places:
    """Return corners of tiles from the upper left; the last of a row reaches the edge or beyond."""
    starts = []
    for length in size:
        at = list(range(0, max(length - side, 0) + 1, stride))
        if at[-1] + side < length and at[-1] + stride < length:
            at.append(at[-1] + stride)
        starts.append(at)
    return np.array([(y, x) for y in starts[0] for x in starts[1]], dtype=np.int64)


@dataclass
class _Kept:
    """The images that were read last; not part of a reader that goes to another process."""

    images: Once[int, Image] = field(default_factory=Once)
    # Images may be many times as large as what is cut out of them.
    reading: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_KEPT))

    def __reduce__(self) -> tuple[type["_Kept"], tuple[()]]:
        return _Kept, ()


@dataclass(frozen=True)
class CropReader:
    """Reads one crop.

    Parameters
    ----------
    read
        The reader of whole images.
    images
        Which image each crop is of, `(n,)`.
    corners
        Rows and columns of the upper left corners, `(n, 2)`; may lie beyond the image.
    side
        Side of the crops in pixels.
    pixel_size
        Micrometres per pixel with which the side was computed; None for a side in pixels.
    masks
        Files of masks by image, which belong to its files.
    sizes
        Height and width of images as they were when the crops were planned.
    unusable
        Why a crop cannot be read, by its place.
    """

    read: Reader
    images: Places
    corners: Places
    side: int
    pixel_size: float | None
    masks: Mapping[int, Path]
    sizes: Mapping[int, tuple[int, int]]
    unusable: Mapping[int, str]
    kept: _Kept = field(default_factory=_Kept, repr=False, compare=False)

    @property
    def thread_safe(self) -> bool:
        """Whether the reader of whole images is."""
        return is_thread_safe(self.read)

    def __call__(self, i: int) -> Image:
        if i in self.unusable:
            raise DataError(self.unusable[i])
        image = self._image(int(self.images[i]))
        top, left = self.corners[i].tolist()
        return replace(
            image,
            pixels=cut(image.pixels, top, left, self.side),
            mask=None if image.mask is None else cut(image.mask, top, left, self.side),
        )

    def files_of(self, i: int) -> list[str | Path]:
        """Return the files of the image of a crop, and of its mask."""
        image = int(self.images[i])
        return [*files_of(self.read, image), *([self.masks[image]] if image in self.masks else [])]

    def _image(self, i: int) -> Image:
        """Return an image, which is read once for all threads that want it."""
        image = self.kept.images.get(i, lambda: self._whole(i))
        self.kept.images.drop_oldest(_KEPT)
        return image

    def _whole(self, i: int) -> Image:
        with self.kept.reading:
            image = self.read(i)
        size = image.pixels.shape[1:]
        if size != self.sizes[i]:
            raise ImageError(
                f"the image has {size[0]} × {size[1]} pixels, but crops were planned for "
                f"{self.sizes[i][0]} × {self.sizes[i][1]}: was it changed?"
            )
        if self.pixel_size is not None:
            check_pixel_size(image.pixel_size, self.pixel_size)
        return image


def check_pixel_size(found: float | None, planned: float) -> None:
    """Raise `ImageError` if an image has another pixel size than the crops were planned with."""
    if found is None or abs(found - planned) > _SAME * planned:
        size = "an unknown pixel size" if found is None else f"pixels of {found:g} µm"
        raise ImageError(
            f"the image has {size}, but the first one has pixels of {planned:g} µm, of which crops "
            "in micrometres were cut: give crop_size (--crop-size) in pixels, or the pixel size"
        )


def cut(array: NDArray[Any], top: int, left: int, side: int) -> NDArray[Any]:
    """Cut a box of the last two axes; 0 beyond them."""
    height, width = array.shape[-2:]
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    part = array[..., rows, columns]
    if part.shape[-2:] == (side, side):
        return np.ascontiguousarray(part)
    found = np.zeros((*array.shape[:-2], side, side), dtype=array.dtype)
    found[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = (
        part
    )
    return found
