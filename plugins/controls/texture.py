"""Texture of single channels, independent of gain and offset."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import graycomatrix, local_binary_pattern
from skimage.morphology import reconstruction

from zoo import plugin

from .column_names import BINS, CIRCLES, DISTANCES, RADII
from .per_image import Array, PerImage

RANGE = (0.1, 99.9)  # percentiles of a plane that are mapped to 0 and 1
LEVELS = 32  # grey levels of the co-occurrence matrix
FLOOR = 1e-6  # lower bound of the power, in units of the mean power


def to_unit(plane: NDArray[np.floating]) -> Array:
    """Map the percentiles of `RANGE` to 0 and 1 and clip, which removes gain and offset.

    If the two coincide, minimum and maximum are used; a constant plane becomes zeros.
    """
    pixels = plane.astype(np.float64)
    low, high = np.percentile(pixels, RANGE)
    if low == high:
        low, high = pixels.min(), pixels.max()
    if low == high:
        return np.zeros(pixels.shape)
    unit: Array = np.clip((pixels - low) / (high - low), 0.0, 1.0)
    return unit


def describe_plane(plane: NDArray[np.floating]) -> Array:
    """64 numbers: Haralick features, local binary patterns, granularity, power spectrum."""
    unit = to_unit(plane)
    # Binary patterns compare neighbours: without steps of 1/255, rounding errors would be patterns.
    grey = np.round(unit * 255).astype(np.uint8)
    return np.concatenate([haralick(grey), binary_patterns(grey), granularity(unit), power(unit)])


def haralick(grey: NDArray[np.uint8]) -> Array:
    """13 features of Haralick et al. (1973, appendix I, f1 to f13) at each of `DISTANCES`.

    They are averaged over the four directions. Matrices are symmetric, entropies are in bits, and a
    plane of one level has correlation 0.
    """
    step = 256 // LEVELS
    matrices = graycomatrix(
        grey // step, DISTANCES, np.arange(4) * np.pi / 4, LEVELS, symmetric=True, normed=True
    )
    p = matrices.reshape(LEVELS, LEVELS, -1)  # (i, j, distance and direction)
    i, j = np.indices((LEVELS, LEVELS))[..., None]
    flat = p.reshape(LEVELS**2, -1)
    sums, differences = _SUMS @ flat, _DIFFERENCES @ flat
    k, d = np.arange(2 * LEVELS - 1)[:, None], np.arange(LEVELS)[:, None]

    margin = p.sum(0)  # of rows and of columns, since the matrix is symmetric
    mean = (d * margin).sum(0)
    variance = ((d - mean) ** 2 * margin).sum(0)
    product = margin[:, None] * margin[None]
    entropy, own = _entropy(flat), _entropy(margin)
    crossed = _entropy(product.reshape(LEVELS**2, -1))  # HXY1 = HXY2 for a symmetric matrix
    sum_average = (k * sums).sum(0)
    features = np.stack(
        [
            (flat**2).sum(0),
            (d**2 * differences).sum(0),
            _ratio(((i - mean) * (j - mean) * p).sum((0, 1)), variance),
            variance,
            (differences / (1 + d**2)).sum(0),
            sum_average,
            ((k - sum_average) ** 2 * sums).sum(0),
            _entropy(sums),
            entropy,
            (d**2 * differences).sum(0) - (d * differences).sum(0) ** 2,
            _entropy(differences),
            _ratio(entropy - crossed, own),
            np.sqrt(-np.expm1(-2 * np.log(2) * np.maximum(crossed - entropy, 0))),  # in nats
        ]
    )
    averaged: Array = features.reshape(13, len(DISTANCES), 4).mean(-1).T.ravel()
    return averaged


def _entropy(p: Array) -> Array:
    """Bits of each column."""
    entropy: Array = -(p * np.log2(p, out=np.zeros_like(p), where=p > 0)).sum(0)
    return entropy


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


_LEVEL = np.arange(LEVELS)
_SUMS = (np.add.outer(_LEVEL, _LEVEL).ravel() == np.arange(2 * LEVELS - 1)[:, None]).astype(float)
_DIFFERENCES = (
    np.abs(np.subtract.outer(_LEVEL, _LEVEL)).ravel() == np.arange(LEVELS)[:, None]
).astype(float)


def binary_patterns(grey: NDArray[np.uint8]) -> Array:
    """Shares of the uniform, rotation-invariant local binary patterns (Ojala et al. 2002).

    For each of `CIRCLES`: patterns of 0, 1, … P points no darker than the centre, side by side,
    and all others.
    """
    return np.concatenate(
        [
            np.bincount(
                local_binary_pattern(grey, points, radius, "uniform").astype(int).ravel(),
                minlength=points + 2,
            )
            / grey.size
            for points, radius in CIRCLES
        ]
    )


def granularity(unit: Array) -> Array:
    """Share of a plane's total intensity that each opening removes beyond the previous one.

    As in CellProfiler (McQuin et al. 2018, MeasureGranularity), at half the resolution, for `RADII`
    instead of 1 to 16, and without its background subtraction: the opening of radius r erodes r
    times with a cross of 3 × 3 pixels and reconstructs by dilation, which removes narrower
    structures and leaves the rest unchanged. 0 for black planes.
    """
    height, width = (side - side % 2 if side > 1 else 1 for side in unit.shape)
    parts = [unit[y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)]
    small = np.mean([p for p in parts if p.size], axis=0)
    total = small.mean()
    if total == 0:
        return np.zeros(len(RADII))
    cross = ndimage.generate_binary_structure(2, 1)
    means, eroded, opened = [total], small, small
    for radius in range(1, RADII[-1] + 1):
        eroded = ndimage.grey_erosion(eroded, footprint=cross)
        if radius in RADII:
            opened = reconstruction(eroded, opened, footprint=cross)
            means.append(opened.mean())
    lost: Array = -np.diff(means) / total
    return lost


def power(unit: Array) -> Array:
    """Mean power in rings of spatial frequency, log10, relative to the mean over all frequencies.

    White noise gives 0 in all rings. Rings end at 2^(-k/2) / 2 cycles per pixel, the finest last. A
    Hann window suppresses edge effects. Rings without any frequency, in small images, and all rings
    of a constant plane are 0.
    """
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in unit.shape))
    centred = (unit - np.average(unit, weights=window)) * window
    spectrum = np.abs(np.fft.fft2(centred)) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(s) for s in unit.shape), indexing="ij"))
    # Ring 0 goes from 0.5 down to 0.5 / sqrt(2); frequencies beyond, in the corners, are left out.
    with np.errstate(divide="ignore"):
        ring = np.floor(-2 * np.log2(2 * frequency) + 1e-9)
    kept = (frequency > 0) & (ring >= 0) & (ring < BINS)
    at = BINS - 1 - ring[kept].astype(int)
    counts = np.bincount(at, minlength=BINS)
    mean = spectrum[frequency > 0].mean() if unit.size > 1 else 0.0
    if mean <= 0:
        return np.zeros(BINS)
    rings = np.bincount(at, spectrum[kept], minlength=BINS) / np.maximum(counts, 1) / mean
    logs: Array = np.where(counts > 0, np.log10(np.maximum(rings, FLOOR)), 0.0)
    return logs


class Texture(PerImage):
    """Texture of each channel, concatenated or averaged over channels."""

    outputs = frozenset({"channels"})

    def describe(self, image: plugin.Image) -> tuple[Array, Array]:
        """Describe an image, and each of its channels in 64 numbers."""
        each = np.stack([describe_plane(plane) for plane in image.pixels])  # (C, 64)
        return each.ravel() if self.requires_equal_channels else each.mean(axis=0), each


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> Texture:
    """Build from the record; there is nothing to load and nothing random."""
    return Texture(spec)
