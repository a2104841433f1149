"""Check the images that a user gives, once, and pack them into batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import ImageError

from .._images.batch import ImageBatch
from .._images.checks import Objects, Stains, check_image, check_objects, check_stains
from .._images.image import Image

Pixels = NDArray[Any] | Tensor
Images = Sequence[Pixels | Image] | Pixels | Image | ImageBatch


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Checked images of one call, with their stains and objects.

    Parameters
    ----------
    planes
        Pixels of each image, `(C, H, W)`: as given, or prepared.
    stains
        Names of each image's channels, or None.
    places
        Rows of the channel embedding for each image's channels, `(C,)` int64, or None.
    objects
        Mask and object types of each image.
    """

    planes: list[Pixels]
    stains: list[Stains | None]
    places: list[Tensor | None]
    objects: list[Objects]

    @property
    def counts(self) -> list[int]:
        """Channels of each image."""
        return [len(planes) for planes in self.planes]

    def batch(self, members: list[int], device: torch.device, dtype: torch.dtype) -> ImageBatch:
        """Pack some prepared images of one size."""
        planes = [torch.as_tensor(self.planes[i]) for i in members]
        if len({x.device for x in planes}) > 1:  # some were prepared where memory was left
            planes = [x.to(device) for x in planes]
        index = None
        if any(self.places[i] is not None for i in members):
            given = zip([self.places[i] for i in members], planes, strict=True)
            index = torch.cat([torch.arange(len(x)) if p is None else p for p, x in given])
        masks = [self.objects[i][0] for i in members]
        types = [self.objects[i][1] for i in members]
        return ImageBatch(
            torch.cat(planes).to(device, dtype),
            torch.tensor([len(x) for x in planes]),
            tuple(self.stains[i] for i in members),
            index,
            tuple(map(_mask, masks)) if any(m is not None for m in masks) else (),
            tuple(types) if any(t is not None for t in types) else (),
        )


def as_inputs(
    images: Images,
    *,
    stains: Sequence[Sequence[str] | None] | None = None,
    channel_index: Sequence[Sequence[int] | None] | None = None,
    masks: Sequence[Any] | None = None,
    types: Sequence[Any] | None = None,
) -> Inputs:
    """Split images into single ones with their stains and objects, and check each once.

    Raises
    ------
    ImageError
        Naming the item.
    ValueError
        For lists of another length than the images, and for values that an `Image` or
        `ImageBatch` already has.
    """
    beside = {"stains": stains, "masks": masks, "types": types}
    if isinstance(images, ImageBatch):
        _refuse({**beside, "channel_index": channel_index}, "an ImageBatch")
        parts = images.images()
        split = images.channel_index
        places = None if split is None else split.split(images.counts.tolist())
        return _checked(parts, images.stains, places, images.masks, images.types)
    members = _members(images)
    if not members:
        raise ImageError("there are no images to encode")
    if any(isinstance(m, Image) for m in members):
        _refuse(beside, "a zoo.Image")
        found = [m if isinstance(m, Image) else Image(m) for m in members]
        members = [m.pixels for m in found]
        stains, masks = [m.stains for m in found], [m.mask for m in found]
        types = [m.types for m in found]
    given = {"stains": stains, "channel_index": channel_index, "masks": masks, "types": types}
    for what, values in given.items():
        if values is not None and len(values) != len(members):
            raise ValueError(f"{what} has {len(values)} entries for {len(members)} images")
    return _checked(members, stains, channel_index, masks, types)


def as_floating(array: Pixels, item: str) -> Tensor:
    """Accept planes that were prepared elsewhere, unchanged."""
    planes = array if isinstance(array, Tensor) else torch.from_numpy(np.ascontiguousarray(array))
    if not planes.is_floating_point():
        raise ImageError(f"{item} is {planes.dtype}; with preprocess=False images must be floating")
    return planes


def _members(images: Any) -> list[Any]:
    """Split what was given into single images."""
    if isinstance(images, Image):
        return [images]
    if isinstance(images, np.ndarray | Tensor):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | bytes) or not hasattr(images, "__iter__"):
        raise TypeError(f"images must be arrays, tensors or zoo.Image, not {images!r}{_HINT}")
    members = list(images)
    for i, member in enumerate(members):
        if isinstance(member, str | bytes) or hasattr(member, "__fspath__"):
            raise TypeError(f"image {i} is {member!r}, not an array or zoo.Image{_HINT}")
    return members


_HINT = "; read files with zoo.read_image, or embed a folder or a table with zoo.embed"


def _refuse(given: dict[str, Any], what: str) -> None:
    twice = [name for name, values in given.items() if values is not None]
    if twice:
        raise ValueError(f"{what} has its own {', '.join(given)}: leave out {twice[0]}=")


def _checked(
    members: Sequence[Any],
    stains: Sequence[Any] | None,
    places: Sequence[Any] | None,
    masks: Sequence[Any] | None,
    types: Sequence[Any] | None,
) -> Inputs:
    nothing = (None,) * len(members)
    found = Inputs(planes=[], stains=[], places=[], objects=[])
    rows = zip(
        members,
        stains or nothing,
        places or nothing,
        masks or nothing,
        types or nothing,
        strict=True,
    )
    for i, (member, names, place, mask, kinds) in enumerate(rows):
        item = f"image {i}"
        array = check_image(member, item)
        found.planes.append(array)
        found.stains.append(check_stains(names, len(array), item))
        found.places.append(None if place is None else _place(place, len(array), i))
        found.objects.append(check_objects(mask, kinds, (array.shape[1], array.shape[2]), item))
    return found


def _place(place: Any, count: int, i: int) -> Tensor:
    if len(place) != count:
        raise ValueError(f"image {i} has {count} channels, channel_index {place}")
    if np.asarray(place).dtype.kind not in "iu":
        raise ValueError(f"channel_index of image {i} holds {place}, not whole numbers")
    return torch.as_tensor(np.asarray(place), dtype=torch.int64)


def _mask(mask: NDArray[Any] | None) -> Tensor | None:
    return None if mask is None else torch.from_numpy(np.ascontiguousarray(mask, dtype=np.int64))
