"""Preprocessing of many images at once on their encoder's device, as `prepare` does on the CPU."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import Preprocessing, ZooError

from .checks import as_array
from .preprocess import between, check_crop, check_size, fit, places_of, prepare, scaling_of

NUMBERS = 2**16
"""Numbers that a pixel can be."""
PLANES = 64
"""Most planes at once: each has a table of how often each number is there."""
PIXELS = 2**24
"""Most pixels at once: each takes some 30 bytes."""
MOST_SHRINKING = 64
"""Most pixels in a row that become one."""


def prepare_together(
    images: Sequence[NDArray[Any] | Tensor],
    preprocessing: Preprocessing,
    items: Sequence[str],
    device: torch.device,
) -> list[Tensor | ZooError]:
    """Prepare checked images on a device.

    Unsigned integers of 8 and 16 bits are scaled there by percentiles, range or not at all, with
    the bits of `prepare`, and resized there, which rounds in another order. Other images, and
    other scalings, are prepared on the CPU.

    Returns
    -------
    list
        `(C, h, w)` float32 on the device, or why an image cannot be prepared, in order.
    """
    found: dict[int, Tensor | ZooError] = {}
    alike: dict[tuple[Any, ...], list[tuple[int, NDArray[Any]]]] = {}
    for i, (image, item) in enumerate(zip(images, items, strict=True)):
        array = as_array(image)
        try:
            if _can_prepare(array, preprocessing):
                check_size(array, preprocessing, item)
                check_crop(array, preprocessing, item)
                alike.setdefault((array.dtype, *array.shape[1:]), []).append((i, array))
            else:
                found[i] = prepare(array, preprocessing, item).to(device)
        except ZooError as error:
            found[i] = error
    for group in alike.values():
        for part in _parts(group):
            planes = _to_device([array for _, array in part], device)
            scaled = _scaled(planes, part[0][1].dtype, preprocessing)
            ready = fit(scaled, preprocessing, items[part[0][0]])
            split = ready.split([len(array) for _, array in part])
            found |= {i: planes for (i, _), planes in zip(part, split, strict=True)}
    return [found[i] for i in range(len(images))]


def _can_prepare(array: NDArray[Any], preprocessing: Preprocessing) -> bool:
    if array.dtype not in (np.uint8, np.uint16):
        return False
    # Where very many pixels become one, the memory of PyTorch's kernel does not suffice.
    size = preprocessing.resize
    resizable = size is None or min(array.shape[1:]) <= MOST_SHRINKING * size
    return resizable and scaling_of(array.dtype, preprocessing) in ("percentile", "range", "none")


def _parts(group: list[tuple[int, NDArray[Any]]]) -> list[list[tuple[int, NDArray[Any]]]]:
    """Cut images of one size into parts of bounded size; a larger image is a part of its own."""
    parts: list[list[tuple[int, NDArray[Any]]]] = []
    planes = pixels = 0
    for i, array in group:
        planes, pixels = planes + len(array), pixels + array.size
        if not parts or planes > PLANES or pixels > PIXELS:
            parts.append([])
            planes, pixels = len(array), array.size
        parts[-1].append((i, array))
    return parts


def _to_device(arrays: list[NDArray[Any]], device: torch.device) -> Tensor:
    """Join planes and carry them over as they are; as int32 there, for PyTorch knows little uint16.

    A GPU reads pinned memory by itself, while the CPU goes on.
    """
    wide = arrays[0].dtype == np.uint16
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    joined = _buffer(shape, torch.int16 if wide else torch.uint8, device)
    np.concatenate(arrays, out=joined.numpy().view(arrays[0].dtype))
    planes = joined.to(device, non_blocking=True).to(torch.int32)
    return planes & 0xFFFF if wide else planes


def _buffer(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return memory of the CPU, pinned for a GPU if it is little: it is kept for the next time."""
    little = math.prod(shape) <= PIXELS
    try:
        return torch.empty(shape, dtype=dtype, pin_memory=little and device.type == "cuda")
    except RuntimeError:  # where no memory may be pinned
        return torch.empty(shape, dtype=dtype)


def _scaled(planes: Tensor, dtype: np.dtype[Any], preprocessing: Preprocessing) -> Tensor:
    """Scale planes, `(N, H, W)` int32, to float32, with the operations of `preprocess.scale`."""
    scaling = scaling_of(dtype, preprocessing)
    if scaling == "percentile":
        return _by_percentiles(planes, preprocessing.percentiles)
    if scaling == "range":
        # By a tensor of the device: a GPU multiplies by the inverse of a Python number.
        largest = torch.full((1,), np.iinfo(dtype).max, dtype=torch.float32, device=planes.device)
        return planes.float() / largest
    return planes.float()


def _by_percentiles(planes: Tensor, percentiles: tuple[float, float]) -> Tensor:
    """Scale each plane by its percentiles, which come from how often each number is there."""
    flat = planes.flatten(1)
    count, total = flat.shape
    first = torch.arange(0, count * NUMBERS, NUMBERS, device=planes.device)[:, None]
    counts = torch.zeros(count * NUMBERS, dtype=torch.int32, device=planes.device)
    one = torch.ones((), dtype=torch.int32, device=planes.device)
    counts.scatter_add_(0, (flat + first).flatten(), one.expand(count * total))
    reached = counts.view(count, NUMBERS).cumsum(1)
    around, share = places_of(total, percentiles)
    places = torch.from_numpy(around.astype(np.int64)).to(planes.device).flatten()
    found = torch.searchsorted(reached, places.repeat(count, 1), right=True).double()
    (low_before, high_before), (low_after, high_after) = found.view(count, 2, 2).permute(1, 2, 0)
    bottom = between(low_before, low_after, float(share[0]))
    top = between(high_before, high_after, float(share[1]))
    low, high = (f(flat, 1).double() for f in (torch.amin, torch.amax))
    sparse = top == bottom  # fewer bright pixels than the percentiles leave out
    offset = torch.where(sparse, low, bottom)[:, None]
    span = torch.where(sparse, high, top)[:, None] - offset
    divisor = torch.where(span > 0, span, torch.inf)
    return ((flat.double() - offset) / divisor).float().clip_(0.0, 1.0).view_as(planes)
