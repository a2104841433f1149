"""Statistics of the pixels of each channel, and correlations of channels; no positions."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo import plugin

from .column_names import PERCENTILES
from .per_image import Array, PerImage


def plane_statistics(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """Summarise one plane in 10 numbers.

    Returns
    -------
    NDArray
        Mean, sd, the percentiles of `PERCENTILES` (linear between pixels), and the saturated
        share: pixels at or above 1, the upper end of the prepared scale. Scaling by percentiles
        clips there, so that at least its upper tail (0.1 % by default) counts as saturated.
    """
    pixels = plane.astype(np.float64).ravel()
    saturated = np.mean(pixels >= 1.0)
    return np.array([pixels.mean(), pixels.std(), *np.percentile(pixels, PERCENTILES), saturated])


def channel_correlations(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlate the pixels of each pair of channels (Pearson), in the order 01, 02, …, 12, 13, ….

    A pair with a constant channel gets 0, so that a black channel adds no information.
    """
    flat = image.reshape(len(image), -1).astype(np.float64)
    centred = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    pairs = np.triu_indices(len(image), k=1)
    correlations: NDArray[np.float64] = np.clip(unit @ unit.T, -1.0, 1.0)[pairs]
    return correlations


class PixelStatistics(PerImage):
    """Statistics of each channel and between channels, concatenated or averaged over channels."""

    outputs = frozenset({"channels"})

    def describe(self, image: plugin.Image) -> tuple[Array, Array]:
        """Summarise an image, and each of its channels in 10 numbers."""
        each = np.stack([plane_statistics(plane) for plane in image.pixels])  # (C, 10)
        between = channel_correlations(image.pixels)  # (C · (C - 1) / 2,)
        if self.requires_equal_channels:
            return np.concatenate([each.ravel(), between]), each
        mean = between.mean() if len(between) else 0.0
        return np.append(each.mean(axis=0), mean), each


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> PixelStatistics:
    """Build from the record; there is nothing to load and nothing random."""
    return PixelStatistics(spec)
