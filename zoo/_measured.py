"""Simple measurements of images: what a score may come from without any biology."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import laplace

from ._dataset import Dataset


def measure(dataset: Dataset) -> pd.DataFrame:
    """Measure brightness and sharpness of every channel of every image, as stored.

    Returns
    -------
    DataFrame
        One row for each item: ``intensity X``, the mean of channel X, and ``focus X``, the log of
        the mean squared Laplacian over the variance (NaN for a constant plane). X is the stain, or
        the place from 1; what an image lacks is NaN.
    """
    rows = []
    for i in range(len(dataset)):
        image = dataset[i]
        names = image.stains or [str(k + 1) for k in range(len(image.pixels))]
        row = {}
        for name, plane in zip(names, image.pixels, strict=True):
            row[f"intensity {name}"] = float(plane.mean(dtype=np.float64))
            row[f"focus {name}"] = sharpness(plane)
        rows.append(row)
    return pd.DataFrame(rows)


def sharpness(plane: NDArray[Any]) -> float:
    """Log of the mean squared Laplacian over the variance; gain and offset change nothing."""
    pixels = plane.astype(np.float64)
    spread = pixels.var()
    edges = float((laplace(pixels) ** 2).mean())
    return float(np.log(edges / spread)) if spread > 0 and edges > 0 else float("nan")
