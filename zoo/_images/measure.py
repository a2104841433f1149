"""Intensity and focus of images: confounders that can explain a score without any biology."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import laplace

from .image import Image, channel_names


def measure(images: Iterable[Image]) -> pd.DataFrame:
    """Measure brightness and sharpness of every channel of every image, as stored.

    Returns
    -------
    DataFrame
        One row for each image: ``intensity X``, the mean of channel X, and ``focus X``, the log of
        the mean squared Laplacian over the variance (NaN for a constant plane). X is the stain, or
        the channel number from 1. If images differ in their channels: ``intensity`` and ``focus``,
        means over the channels of each image.
    """
    channels, intensities, focuses = [], [], []
    for image in images:
        channels.append(channel_names(image))
        intensities.append([float(plane.mean(dtype=np.float64)) for plane in image.pixels])
        focuses.append([sharpness(plane) for plane in image.pixels])
    if len({frozenset(names) for names in channels}) > 1:
        means = {
            "intensity": [pd.Series(values).mean() for values in intensities],
            "focus": [pd.Series(values).mean() for values in focuses],  # skips NaN
        }
        return pd.DataFrame(means)
    rows = []
    for names, brightness, focus in zip(channels, intensities, focuses, strict=True):
        row = {f"intensity {name}": value for name, value in zip(names, brightness, strict=True)}
        rows.append(row | {f"focus {name}": v for name, v in zip(names, focus, strict=True)})
    return pd.DataFrame(rows)


def sharpness(plane: NDArray[Any]) -> float:
    """Log of the mean squared Laplacian over the variance; invariant to gain and offset."""
    pixels = plane.astype(np.float64)
    spread = pixels.var()
    edges = float((laplace(pixels) ** 2).mean())
    return float(np.log(edges / spread)) if spread > 0 and edges > 0 else float("nan")
