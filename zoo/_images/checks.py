"""Images, stains and objects, checked as they come."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import ImageError

Stains = tuple[str, ...]
Objects = tuple[NDArray[Any] | None, NDArray[np.int64] | None]  # mask and types of one image
_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


def check_image(image: Any, item: str) -> NDArray[Any] | Tensor:
    """Return an image as a `(C, H, W)` array or tensor of real numbers, or say what is wrong.

    Raises
    ------
    ImageError
        Naming `item`: wrong type, shape or dtype, no channel, no pixel, NaN or infinite pixels.
    """
    if not isinstance(image, np.ndarray | Tensor):
        try:
            image = np.asarray(image)
        except ValueError as error:
            raise ImageError(f"{item} is no array: {error}") from error
    shape = tuple(image.shape)
    if len(shape) == 2:
        raise ImageError(
            f"{item} has the shape {shape}; an image is (channels, height, width): "
            "add an axis with image[None] if it has one channel"
        )
    if len(shape) != 3:
        raise ImageError(f"{item} has the shape {shape}; an image is (channels, height, width)")
    if 0 in shape:
        raise ImageError(f"{item} has the shape {shape}: there is nothing in it")
    if shape[2] <= 4 and shape[0] > 16 and shape[1] > 16:
        raise ImageError(
            f"{item} has the shape {shape}, which looks like (height, width, channels); an image "
            "is (channels, height, width): move the axis with np.moveaxis(image, -1, 0)"
        )
    if isinstance(image, Tensor):
        if image.is_complex() or image.dtype == torch.bool:
            raise ImageError(f"{item} is {image.dtype}; pixels are integers or floats")
        # Where they are: pixels on a GPU are not fetched to be looked at.
        sound = finite_planes(image).tolist()
    else:
        if image.dtype.kind not in "iuf":
            raise ImageError(f"{item} is {image.dtype}; pixels are integers or floats")
        if not image.dtype.isnative:
            image = image.astype(image.dtype.newbyteorder("="))
        sound = np.isfinite(image).all(axis=(1, 2)).tolist()
    if not all(sound):
        raise ImageError(f"{item} has NaN or infinite pixels in channel {sound.index(False)}")
    return image


def finite_planes(planes: Tensor) -> Tensor:
    """Say of each plane whether all its pixels are finite, `(N,)`, without waiting for a GPU."""
    return torch.isfinite(planes).flatten(1).all(1)


def as_array(image: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Return the pixels in NumPy; floats of types that it lacks, such as bfloat16, as float32."""
    if not isinstance(image, Tensor):
        return image
    if image.is_floating_point() and image.dtype not in _NUMPY_FLOATS:
        image = image.float()
    pixels: NDArray[Any] = image.detach().cpu().numpy()
    return pixels


def check_stains(stains: Sequence[str] | None, count: int, item: str) -> Stains | None:
    """Return stain names as a tuple, or say that their number is off."""
    if stains is None:
        return None
    if isinstance(stains, str) or len(stains) != count:
        raise ImageError(f"{item} has {count} channel(s), but its stains are {stains!r}")
    return tuple(str(s) for s in stains)


def check_objects(mask: Any, types: Any, size: tuple[int, int], item: str) -> Objects:
    """Return a mask and the types of its objects as arrays, or say what is wrong.

    Parameters
    ----------
    mask
        Number of the object at each pixel, `(H, W)` integers, 0 for background; or None.
    types
        Type of each object, `(n,)` integers from 0, n no less than the largest number in `mask`; or
        None.
    size
        Height and width of the image.
    item
        What messages call the image.

    Raises
    ------
    ImageError
        Naming `item`: another shape, no integers, negative numbers, types without a mask, fewer
        types than objects.
    """
    if mask is None:
        if types is not None:
            raise ImageError(f"{item} has types of objects, but no mask that says where they are")
        return None, None
    mask = _integers(mask, f"the mask of {item}", "number objects by integers, 0 for background")
    if mask.shape != tuple(size):
        raise ImageError(
            f"the mask of {item} has the shape {mask.shape}, but the image has {size[0]} × "
            f"{size[1]} pixels"
        )
    if types is None:
        return mask, None
    types = _integers(types, f"the types of {item}", "name the type of each object by an integer")
    if types.ndim != 1:
        raise ImageError(
            f"the types of {item} have the shape {types.shape}, but must be one number for each "
            "object"
        )
    if len(types) < (count := int(mask.max())):
        raise ImageError(f"{item} has objects up to number {count}, but types of {len(types)} only")
    return mask, types.astype(np.int64)


def _integers(values: Any, what: str, wanted: str) -> NDArray[Any]:
    try:
        array = as_array(values) if isinstance(values, Tensor) else np.asarray(values)
    except ValueError as error:
        raise ImageError(f"{what} cannot be read as an array: {error}") from error
    if array.size == 0 and array.ndim == 1:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise ImageError(f"{what} holds {array.dtype} values, but must {wanted}")
    if array.size and (array.min() < 0 or array.max() > np.iinfo(np.int64).max):
        beyond = array.min() if array.min() < 0 else array.max()
        raise ImageError(f"{what} holds {beyond}, but must {wanted}")
    return array
