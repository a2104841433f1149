"""Nuisance perturbations of an image, and changes of its channels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .image import Image, channel_names

Array = NDArray[Any]
Rng = np.random.Generator
Change = Callable[[Image, Rng], Image | None]
BLUR = 1.5  # pixels
NOISE = 0.02  # of a plane's range


def limits(pixels: Array) -> tuple[float, float]:
    """Allowed range of changed pixels: that of the dtype, and of the image's convention.

    An image without negative pixels gets none, and floats in [0, 1] stay in [0, 1].
    """
    if pixels.dtype.kind != "f":
        info = np.iinfo(pixels.dtype)
        top = float(info.max)
        # The largest 64-bit integers round up to a float beyond their range.
        high = top if int(top) <= info.max else float(np.nextafter(top, 0))
        return 0.0 if pixels.min() >= 0 else float(info.min), high
    largest = float(np.finfo(pixels.dtype).max)
    if pixels.min() < 0:
        return -largest, largest
    return 0.0, 1.0 if pixels.max() <= 1 else largest


def fitted(values: Array, like: Array) -> Array:
    """Clip and round values to the dtype and `limits` of an image, without wrap-around."""
    kept = np.clip(values, *limits(like))
    return (kept if like.dtype.kind == "f" else np.rint(kept)).astype(like.dtype)


def blackened(image: Image, channel: int) -> Image:
    """Set all pixels of a channel to 0."""
    pixels = image.pixels.copy()
    pixels[channel] = 0
    return replace(image, pixels=pixels)


def _moving(move: Callable[[Array], Array]) -> Change:
    """Transform pixels and mask together, by a function of the last two axes."""

    def change(image: Image, _: Rng) -> Image:
        mask = None if image.mask is None else np.ascontiguousarray(move(image.mask))
        return replace(image, pixels=np.ascontiguousarray(move(image.pixels)), mask=mask)

    return change


def _recolouring(recolour: Callable[[Array, Rng], Array]) -> Change:
    """Change pixel values in place, by a function of floats."""

    def change(image: Image, rng: Rng) -> Image:
        values = recolour(image.pixels.astype(np.float64), rng)
        return replace(image, pixels=fitted(values, image.pixels))

    return change


def _shift(planes: Array) -> Array:
    """Shift down and right by a tenth of each side, with reflected edges."""
    height, width = planes.shape[-2:]
    down, right = (max(1, round(side / 10)) for side in (height, width))
    pad = [(0, 0)] * (planes.ndim - 2) + [(down, 0), (right, 0)]
    return np.pad(planes, pad, mode="reflect")[..., :height, :width]


def _gamma(planes: Array, _: Rng) -> Array:
    """Apply a gamma to each plane between its own extremes."""
    low = planes.min((1, 2), keepdims=True)
    span = np.ptp(planes, (1, 2), keepdims=True)
    return low + span * ((planes - low) / np.where(span > 0, span, 1.0)) ** 0.7


def _noisy(planes: Array, rng: Rng) -> Array:
    return planes + NOISE * np.ptp(planes, (1, 2), keepdims=True) * rng.normal(size=planes.shape)


NUISANCES: dict[str, Change] = {
    "rotated by 90°": _moving(lambda planes: np.rot90(planes, axes=(-2, -1))),
    "flipped": _moving(lambda planes: planes[..., ::-1]),
    "shifted by a tenth": _moving(_shift),
    "gain 0.7": _recolouring(lambda planes, _: 0.7 * planes),
    "gain 1.4": _recolouring(lambda planes, _: 1.4 * planes),
    "gamma 0.7": _recolouring(_gamma),
    "blurred (sd 1.5 px)": _recolouring(lambda x, _: gaussian_filter(x, (0, BLUR, BLUR))),
    "noise (sd 2 % of the range)": _recolouring(_noisy),
}
"""Nuisance perturbations, by their names in tables."""


def reordered(image: Image) -> Image | None:
    """Shift every channel by one position, with its name; the last becomes the first."""
    if len(image.pixels) < 2:
        return None
    stains = image.stains and (image.stains[-1], *image.stains[:-1])
    return replace(image, pixels=np.roll(image.pixels, 1, axis=0), stains=stains)


def renamed(image: Image) -> Image | None:
    """Shift every channel by one position, but not the names."""
    moved = reordered(image)
    if moved is None or image.stains is None:
        return None
    return replace(moved, stains=image.stains)


def duplicated(image: Image) -> Image | None:
    if len(image.pixels) < 2:
        return None
    stains = image.stains and (*image.stains, image.stains[0])
    pixels = np.concatenate([image.pixels, image.pixels[:1]])
    return replace(image, pixels=pixels, stains=stains)


def dropped(image: Image, channel: int) -> Image:
    stains = image.stains and image.stains[:channel] + image.stains[channel + 1 :]
    return replace(image, pixels=np.delete(image.pixels, channel, axis=0), stains=stains)


def to_channel(name: str, change: Callable[[Image, int], Image]) -> Change:
    def to_named(image: Image, _: Rng) -> Image | None:
        names = channel_names(image)
        return change(image, names.index(name)) if name in names and len(names) > 1 else None

    return to_named
