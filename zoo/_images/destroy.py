"""Pathological inputs: images without essential information, to test what scores depend on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from zoo.registry import ImageError, suggest

from .image import Image, channel_names
from .perturb import fitted, limits

Array = NDArray[Any]
Rng = np.random.Generator
GRID = 16
_ONLY = " only"


def black(pixels: Array, _: Rng) -> Array:
    """Set everything to 0."""
    return np.zeros_like(pixels)


def constant(pixels: Array, _: Rng) -> Array:
    """Set each plane to its mean."""
    means = pixels.mean((1, 2), keepdims=True, dtype=np.float64)
    return fitted(np.broadcast_to(means, pixels.shape), pixels)


def white_noise(pixels: Array, rng: Rng) -> Array:
    """Replace every pixel by uniform noise between the extremes of its plane."""
    low, high = pixels.min((1, 2), keepdims=True), pixels.max((1, 2), keepdims=True)
    if pixels.dtype.kind == "f":
        share = rng.random(pixels.shape)
        low, high = low.astype(np.float64), high.astype(np.float64)
        return (low * (1 - share) + high * share).astype(pixels.dtype)
    kind = pixels.dtype.newbyteorder("=").type
    drawn = rng.integers(low, high, pixels.shape, dtype=kind, endpoint=True)
    return drawn.astype(pixels.dtype)


def shuffle_patches(pixels: Array, rng: Rng) -> Array:
    """Shuffle the patches of a 16 × 16 grid, identically in all channels.

    If 16 does not divide a side, patch lengths differ by one pixel and only patches of equal size
    are swapped. A side shorter than 16 is cut into single pixels.
    """
    shuffled = pixels.copy()
    for size, corners in _patches(*pixels.shape[1:]):
        for (y, x), (v, u) in zip(corners, rng.permutation(corners), strict=True):
            patch = pixels[:, v : v + size[0], u : u + size[1]]
            shuffled[:, y : y + size[0], x : x + size[1]] = patch
    return shuffled


def shuffle_pixels(pixels: Array, rng: Rng) -> Array:
    """Shuffle the pixels, identically in all channels: keeps histograms and colocalisation."""
    flat = pixels.reshape(len(pixels), -1)
    return flat[:, rng.permutation(flat.shape[1])].reshape(pixels.shape)


def scramble_phases(pixels: Array, rng: Rng) -> Array:
    """Add the phases of a noise image to those of every plane; the power spectrum stays.

    All channels get the same phases, which keeps their correlations. If the result exceeds the
    `limits` of the image, its mean is shifted as little as needed instead of clipping pixels;
    contrast is lowered only if its range is too wide.
    """
    low, high = limits(pixels)
    phases = np.exp(1j * np.angle(rfft2(rng.normal(size=pixels.shape[1:]))))
    phases[0, 0] = 1  # keeps the mean
    planes = []
    for plane in pixels:
        if plane.min() == plane.max():  # do not amplify rounding errors
            planes.append(plane.astype(np.float64))
            continue
        # A common unit keeps sums of huge floats finite.
        unit = max(float(np.abs(plane).max()), 1.0)
        spectrum = rfft2(plane / np.float64(unit)) * phases
        values = irfft2(spectrum, s=plane.shape) * unit
        centre = values.mean()
        around = values - centre
        around *= min(1.0, (high - low) / max(float(np.ptp(around)), np.finfo(float).tiny))
        planes.append(around + np.clip(centre, low - around.min(), high - around.max()))
    return fitted(np.stack(planes), pixels)


Take = Callable[[Array, Rng], Array]
TAKEN: Mapping[str, Take] = {
    "black": black,
    "constant": constant,
    "white noise": white_noise,
    "patches shuffled": shuffle_patches,
    "pixels shuffled": shuffle_pixels,
    "phases scrambled": scramble_phases,
}

INPUTS = tuple(TAKEN)
"""Inputs of `pathological_dataset` for any image; also ``"X only"`` for a channel X."""

READINGS: Mapping[str, str] = {
    "black": "information leaks from outside the pixels, such as image size or order",
    "constant": "mean intensity is sufficient, or information leaks",
    "white noise": "minimum and maximum intensity are sufficient, or information leaks",
    "patches shuffled": "texture is sufficient, spatial arrangement is not needed",
    "pixels shuffled": "the intensity distribution is sufficient, shape is not needed",
    "phases scrambled": "the power spectrum is sufficient, shape is not needed",
    "one channel only": "that stain alone is sufficient",
}
"""What it means if a score is kept on an input."""


def destroy(image: Image, name: str, rng: Rng) -> Image:
    """Apply the named change to an image; ``"X only"`` sets all channels except X to 0.

    X is a stain, or ``channel 1`` and so on where stains are unknown. Objects are dropped if the
    pixels no longer show them.

    Raises
    ------
    ValueError
        For an unknown name.
    ImageError
        For a channel that the image lacks.
    """
    if name in TAKEN:
        pixels = TAKEN[name](image.pixels, rng)
        return replace(image, pixels=pixels, mask=None, types=None)
    check_input(name)
    asked = name.removesuffix(_ONLY)
    names = channel_names(image)
    if image.stains is None:
        names = tuple(f"channel {number}" for number in names)
    if asked not in names:
        raise ImageError(f"there is no channel {asked!r}, only {', '.join(names)}")
    only = np.zeros_like(image.pixels)
    only[names.index(asked)] = image.pixels[names.index(asked)]
    return replace(image, pixels=only)


def check_input(name: str) -> None:
    if name not in TAKEN and not name.endswith(_ONLY):
        raise ValueError(
            f"{name!r} is none of {', '.join(INPUTS)}, nor a channel such as 'DNA only'."
            f"{suggest(name, INPUTS)}"
        )


def _patches(height: int, width: int) -> Iterator[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """Yield each patch size with the corners of all patches of that size."""
    by_size: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, h in _cuts(height):
        for x, w in _cuts(width):
            by_size.setdefault((h, w), []).append((y, x))
    yield from by_size.items()


def _cuts(side: int) -> list[tuple[int, int]]:
    """Start and length of the parts of a side, lengths spread evenly."""
    parts = min(GRID, side)
    edges = [k * side // parts for k in range(parts + 1)]
    return [(a, b - a) for a, b in pairwise(edges)]
