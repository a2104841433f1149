"""Images from which something essential was taken, to see whether scores needed it."""

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
    """Draw every pixel anew, evenly between the extremes of its plane."""
    low, high = pixels.min((1, 2), keepdims=True), pixels.max((1, 2), keepdims=True)
    if pixels.dtype.kind == "f":
        share = rng.random(pixels.shape)
        low, high = low.astype(np.float64), high.astype(np.float64)
        return (low * (1 - share) + high * share).astype(pixels.dtype)
    kind = pixels.dtype.newbyteorder("=").type
    drawn = rng.integers(low, high, pixels.shape, dtype=kind, endpoint=True)
    return drawn.astype(pixels.dtype)


def shuffle_patches(pixels: Array, rng: Rng) -> Array:
    """Shuffle the patches of a 16 × 16 grid, in all channels alike.

    A side that 16 does not divide has patches of two lengths, one pixel apart; patches change
    places with those of their own size. A side shorter than 16 is cut into single pixels.
    """
    shuffled = pixels.copy()
    for size, corners in _patches(*pixels.shape[1:]):
        for (y, x), (v, u) in zip(corners, rng.permutation(corners), strict=True):
            patch = pixels[:, v : v + size[0], u : u + size[1]]
            shuffled[:, y : y + size[0], x : x + size[1]] = patch
    return shuffled


def shuffle_pixels(pixels: Array, rng: Rng) -> Array:
    """Shuffle the pixels, in all channels alike: histograms stay, and what lies on what."""
    flat = pixels.reshape(len(pixels), -1)
    return flat[:, rng.permutation(flat.shape[1])].reshape(pixels.shape)


def scramble_phases(pixels: Array, rng: Rng) -> Array:
    """Add the phases of a noise image to those of every plane; the power spectrum stays.

    All channels get the same phases, so that they stay as correlated as they were. Where the
    result does not fit between the `limits` of the image, its mean is moved by as little as will
    do, rather than pixels clipped; and only where it is too wide for them, contrast is lowered.
    """
    low, high = limits(pixels)
    phases = np.exp(1j * np.angle(rfft2(rng.normal(size=pixels.shape[1:]))))
    phases[0, 0] = 1  # that of the mean
    planes = []
    for plane in pixels:
        if plane.min() == plane.max():  # rounding must not become a picture
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
"""What `pathological_dataset` can do to any image; beside them, ``"X only"`` for a channel X."""

READINGS: Mapping[str, str] = {
    "black": "nothing of the picture is needed, so that the answer leaks from elsewhere, such as "
    "the size of images or their order",
    "constant": "mean brightness is enough, or the answer leaks",
    "white noise": "the darkest and the brightest pixel are enough, or the answer leaks",
    "patches shuffled": "texture is enough, and the place of things is not needed",
    "pixels shuffled": "intensity is enough, and no shape is needed",
    "phases scrambled": "the power spectrum is enough, and no shape is needed",
    "one channel only": "that stain is enough, and no other is needed",
}
"""What it means if a score is kept, by input."""


def destroy(image: Image, name: str, rng: Rng) -> Image:
    """Take from an image what the name says; other channels than X are black for ``"X only"``.

    X is a stain, or ``channel 1`` and so on where stains are unknown. Objects are left out where
    the pixels no longer show them.

    Raises
    ------
    ValueError
        For a name that means nothing.
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
    """Yield the size of patches with the corners of all that have it."""
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
