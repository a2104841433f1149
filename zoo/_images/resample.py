"""Images at another number of micrometres per pixel."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from zoo.registry import ImageError

from .checks import as_array
from .image import Image

# Differences that change no side of an image of 1000 pixels.
_SAME = 5e-4


def resampled(image: Image, pixel_size: float | None, item: str) -> Image:
    """Return an image with a pixel's side of `pixel_size` micrometres; as it is for None.

    Bilinear and antialiased, rounded to the image's own dtype; masks by the nearest pixel.

    Raises
    ------
    ImageError
        If the pixel size of the image is unknown, or no pixel would be left.
    """
    if pixel_size is None:
        return image
    if image.pixel_size is None:
        raise ImageError(
            f"{item} has an unknown pixel size, but is to be resampled to {pixel_size:g} µm: give "
            "it with pixel_size= (--pixel-size)"
        )
    ratio = image.pixel_size / pixel_size
    if abs(ratio - 1) <= _SAME:
        return image
    pixels = as_array(image.pixels)
    height, width = (round(side * ratio) for side in pixels.shape[1:])
    if min(height, width) < 1:
        raise ImageError(f"{item} would be {height} × {width} pixels at {pixel_size:g} µm")
    mask = None if image.mask is None else _nearest(as_array(image.mask), (height, width))
    resized = _bilinear(pixels, (height, width))
    return replace(image, pixels=resized, mask=mask, pixel_size=pixel_size)


def _bilinear(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    # Integers of 32 bits and more have no exact float32.
    wide = pixels.dtype.itemsize > 2 and pixels.dtype != np.float32
    planes = torch.from_numpy(pixels.astype(np.float64 if wide else np.float32))
    found = F.interpolate(planes[None], size=size, mode="bilinear", antialias=True)[0].numpy()
    return (np.rint(found) if pixels.dtype.kind in "iu" else found).astype(pixels.dtype)


def _nearest(mask: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    # Old pixel that contains the centre of a new one: floor((i + 1/2) · old / new).
    sides = zip(mask.shape, size, strict=True)
    return mask[np.ix_(*((2 * np.arange(new) + 1) * old // (2 * new) for old, new in sides))]
