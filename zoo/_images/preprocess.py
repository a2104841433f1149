"""Preprocessing: from raw pixels to the floats that an encoder takes."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import ImageError, Preprocessing

from .checks import as_array

DARK = 1e-6
"""Added to the contrast of an image that is scaled as a whole, as in the code of SubCell."""


def prepare(image: NDArray[Any] | Tensor, preprocessing: Preprocessing, item: str) -> Tensor:
    """Scale, resize and crop one checked image.

    Parameters
    ----------
    image
        `(C, H, W)`, integers or floats, finite.
    preprocessing
        Scaling, resizing and cropping to apply.
    item
        Name of the image in messages.

    Returns
    -------
    Tensor
        `(C, h, w)` float32 on the CPU.

    Raises
    ------
    ImageError
        For a side shorter than ``min_side`` or the crop, and for values outside the range of the
        scaling or of float32.
    """
    array = as_array(image)
    check_size(array, preprocessing, item)
    if array.dtype.kind == "f" and np.abs(array).max() > np.finfo(np.float32).max:
        raise ImageError(f"{item} has pixels beyond the range of float32")
    planes = torch.from_numpy(np.ascontiguousarray(scale(array, preprocessing, item)))
    return fit(planes, preprocessing, item)


def fit(planes: Tensor, preprocessing: Preprocessing, item: str) -> Tensor:
    """Resize, crop and standardise scaled planes, `(N, H, W)` float32, on their device."""
    size = _resized((planes.shape[1], planes.shape[2]), preprocessing)
    if size != planes.shape[1:]:
        planes = F.interpolate(planes[None], size=size, mode="bilinear", antialias=True)[0]
    rows, columns = _kept(size, preprocessing, item)
    planes = planes[:, rows, columns].contiguous()
    if preprocessing.standardise is None:
        return planes
    wide = planes.double()
    spread = wide.var((1, 2), correction=0, keepdim=True).add(preprocessing.standardise).sqrt()
    return ((wide - wide.mean((1, 2), keepdim=True)) / spread).float()


def prepare_mask(mask: NDArray[Any] | Tensor, preprocessing: Preprocessing, item: str) -> Tensor:
    """Resize and crop a checked mask, `(H, W)` integers, as `prepare` does its image.

    Nearest neighbour, so that labels are not interpolated.

    Returns
    -------
    Tensor
        `(h, w)` int64 on the CPU.
    """
    array = as_array(mask)
    size = _resized((array.shape[0], array.shape[1]), preprocessing)
    # Old pixel that contains the centre of a new one: floor((i + 1/2) · old / new).
    centres = [
        ((2 * np.arange(new) + 1) * old // (2 * new))[kept]
        for old, new, kept in zip(array.shape, size, _kept(size, preprocessing, item), strict=True)
    ]
    return torch.from_numpy(array[np.ix_(*centres)].astype(np.int64))


def _resized(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width after resizing the shorter side."""
    if preprocessing.resize is None:
        return size
    short, long = sorted(size)
    longer = int(preprocessing.resize * long / short)
    return (preprocessing.resize, longer) if size[0] <= size[1] else (longer, preprocessing.resize)


def _kept(size: tuple[int, int], preprocessing: Preprocessing, item: str) -> tuple[slice, slice]:
    """Rows and columns of the centre crop."""
    side = preprocessing.crop
    if side is None:
        return slice(None), slice(None)
    height, width = size
    if min(height, width) < side:
        raise ImageError(f"{item} is {height} × {width} pixels, too small to crop {side}")
    top, left = round((height - side) / 2), round((width - side) / 2)
    return slice(top, top + side), slice(left, left + side)


def check_size(image: NDArray[Any] | Tensor, preprocessing: Preprocessing, item: str) -> None:
    """Raise `ImageError` for a side shorter than ``min_side``."""
    height, width = image.shape[1:]
    if min(height, width) < preprocessing.min_side:
        raise ImageError(
            f"{item} is {height} × {width} pixels, but sides must be at least "
            f"{preprocessing.min_side} pixels"
        )


def check_crop(image: NDArray[Any] | Tensor, preprocessing: Preprocessing, item: str) -> None:
    """Raise `ImageError` for an image that is too small to crop once it is resized."""
    _kept(_resized((image.shape[1], image.shape[2]), preprocessing), preprocessing, item)


def scaling_of(dtype: Any, preprocessing: Preprocessing) -> str:
    """Name the scaling of images of a NumPy dtype, which ``"auto"`` leaves open."""
    if preprocessing.scaling != "auto":
        return preprocessing.scaling
    return "range" if dtype == np.uint8 else "percentile"


def scale(array: NDArray[Any], preprocessing: Preprocessing, item: str) -> NDArray[np.float32]:
    """Scale pixel values to float32 by `Preprocessing.scaling`, channel by channel."""
    scaling = scaling_of(array.dtype, preprocessing)
    if scaling == "none":
        return array.astype(np.float32)
    if scaling == "range":
        return _by_range(array, item)
    if scaling == "image":
        return _by_extremes(array)
    if scaling == "percentile" and array.dtype in (np.uint8, np.uint16):
        scaled = np.empty(array.shape, np.float32)
        for plane, out in zip(array, scaled, strict=True):
            _by_counting(plane, preprocessing.percentiles, out)
        return scaled
    flat = array.reshape(array.shape[0], -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    if scaling == "percentile":
        bottom, top = np.percentile(flat, preprocessing.percentiles, axis=1)
        offset, span = _window(bottom, top, low, high)
    else:
        offset = flat.mean(axis=1, dtype=np.float64)
        span = flat.std(axis=1, dtype=np.float64)
    # The mean of equal floats can differ from them in the last bit, so pixels are compared too.
    divisor = np.where((span > 0) & (low < high), span, np.inf)
    centred = array.astype(np.float64) - offset[:, None, None]
    scaled = (centred / divisor[:, None, None]).astype(np.float32)
    return np.clip(scaled, 0.0, 1.0) if scaling == "percentile" else scaled


def _window(bottom: Any, top: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Value that becomes 0, and the distance to the one that becomes 1."""
    sparse = top == bottom  # fewer bright pixels than the percentiles leave out
    offset = np.where(sparse, low, bottom)
    return offset, np.where(sparse, high, top) - offset


def places_of(
    total: int, percentiles: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two places around each percentile of `total` numbers in order, `(2, 2)`.

    And how far each percentile is from the first to the second, `(2,)`.
    """
    place = np.true_divide(percentiles, 100) * (total - 1)
    before = np.floor(place)
    return np.minimum([before, before + 1], total - 1), place - before


def percentiles_of(counts: NDArray[np.int64], percentiles: tuple[float, float]) -> list[float]:
    """What `np.percentile` gives, to the bit, for numbers that are there `counts[number]` times."""
    reached = np.cumsum(counts)
    around, share = places_of(int(reached[-1]), percentiles)
    pairs = np.searchsorted(reached, around, side="right").T.tolist()
    return [between(a, b, s) for (a, b), s in zip(pairs, share.tolist(), strict=True)]


def between(a: Any, b: Any, share: float) -> Any:
    """Interpolate as NumPy's percentiles do: from the nearer of two numbers."""
    return a + (b - a) * share if share < 0.5 else b - (b - a) * (1 - share)


def _by_counting(
    plane: NDArray[Any], percentiles: tuple[float, float], out: NDArray[np.float32]
) -> None:
    """Scale one channel of small integers: every value once, looked up for every pixel."""
    pixels = torch.from_numpy(plane.astype(np.int32)).flatten()
    counts = torch.bincount(pixels).numpy()
    low, high = np.flatnonzero(counts)[[0, -1]]
    bottom, top = percentiles_of(counts, percentiles)
    offset, span = _window(bottom, top, low, high)
    values = np.arange(len(counts), dtype=np.float64)
    scaled = (values - offset) / (span if span > 0 else np.inf)
    table = torch.from_numpy(np.clip(scaled.astype(np.float32), 0.0, 1.0))
    torch.index_select(table, 0, pixels, out=torch.from_numpy(out).flatten())


def _by_extremes(array: NDArray[Any]) -> NDArray[np.float32]:
    wide = array.astype(np.float64)
    low, high = wide.min(), wide.max()
    return ((wide - low) / (high - low + DARK)).astype(np.float32)


def _by_range(array: NDArray[Any], item: str) -> NDArray[np.float32]:
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f":
        if low < 0 or high > 1:
            raise ImageError(
                f"{item} is {array.dtype} with values from {low:g} to {high:g}; scaling 'range' "
                "takes floats in [0, 1] only: choose scaling 'percentile', 'instance' or 'none'"
            )
        return array.astype(np.float32)
    if low < 0:
        raise ImageError(
            f"{item} has negative pixels ({low:g}), which scaling 'range' does not accept"
        )
    return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
