"""Checks of images, stains and objects."""

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
    """Return an image as a `(C, H, W)` array or tensor of finite real numbers.

    Raises
    ------
    ImageError
        Naming `item`: wrong type, shape or dtype, no channel, no pixel, NaN or infinite pixels.
    """
    if not isinstance(image, np.ndarray | Tensor):
        try:
            image = np.asarray(image)
        except ValueError as error:
            raise ImageError(f"{item} is not an array: {error}") from error
    shape = tuple(image.shape)
    if len(shape) == 2:
        raise ImageError(
            f"{item} has the shape {shape}; an image is (channels, height, width): "
            "add an axis with image[None] if it has one channel"
        )
    if len(shape) != 3:
        raise ImageError(f"{item} has the shape {shape}; an image is (channels, height, width)")
    if 0 in shape:
        raise ImageError(f"{item} has the shape {shape}: it is empty")
    if shape[2] <= 4 and shape[0] > 16 and shape[1] > 16:
        raise ImageError(
            f"{item} has the shape {shape}, which looks like (height, width, channels); an image "
            "is (channels, height, width): move the axis with np.moveaxis(image, -1, 0)"
        )
    if isinstance(image, Tensor):
        if image.is_complex() or image.dtype == torch.bool:
            raise ImageError(f"{item} is {image.dtype}; pixels are integers or floats")
        # Checked on their device: pixels on a GPU are not copied to the host.
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
    """Whether all pixels of each plane are finite, `(N,)`; does not synchronise with a GPU."""
    return torch.isfinite(planes).flatten(1).all(1)


def as_array(image: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Return a NumPy array; float dtypes that NumPy lacks, such as bfloat16, become float32."""
    if not isinstance(image, Tensor):
        return image
    if image.is_floating_point() and image.dtype not in _NUMPY_FLOATS:
        image = image.float()
    pixels: NDArray[Any] = image.detach().cpu().numpy()
    return pixels


def check_stains(stains: Sequence[str] | None, count: int, item: str) -> Stains | None:
    """Return stain names as a tuple; raise `ImageError` if their number is wrong."""
    if stains is None:
        return None
    if isinstance(stains, str) or len(stains) != count:
        raise ImageError(f"{item} has {count} channel(s), but its stains are {stains!r}")
    return tuple(str(s) for s in stains)


def check_objects(mask: Any, types: Any, size: tuple[int, int], item: str) -> Objects:
    """Return a label mask and the types of its objects as arrays.

    Parameters
    ----------
    mask
        Label mask, `(H, W)` integers, 0 for background; or None.
    types
        Type of each object, `(n,)` integers from 0, n at least the largest label; or None.
    size
        Height and width of the image.
    item
        Name of the image in messages.

    Raises
    ------
    ImageError
        Naming `item`: wrong shape, not integers, negative numbers, types without a mask, fewer
        types than objects.
    """
    if mask is None:
        if types is not None:
            raise ImageError(f"{item} has object types, but no mask")
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
        raise ImageError(f"{item} has objects up to number {count}, but only {len(types)} types")
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
