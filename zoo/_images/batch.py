"""A ragged batch of images: channels are packed, never padded."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import ImageError

from .checks import Stains, check_objects


@dataclass(frozen=True)
class ImageBatch:
    """Images of one size and any numbers of channels, packed without padding.

    Parameters
    ----------
    planes
        All channels of all images, concatenated: `(sum of C_i, H, W)`, floating.
    counts
        Number of channels of each image, `(B,)`, int64, on the CPU.
    stains
        Stain names of each image, or None where they are unknown.
    channel_index
        Row of the encoder's channel embedding for each plane, `(sum of C_i,)`, int64, on the CPU;
        by default the channel's position in its image, 0 … C_i - 1.
    masks
        Label mask of each image, `(H, W)` int64 on the CPU, 0 for background, or None; empty if no
        image has one.
    types
        Type of each object, `(n,)` int64 from 0, ``types[k - 1]`` of object k, or None; empty if no
        image has them. Objects outside a crop keep their entry.

    Raises
    ------
    ImageError
        For inconsistent shapes, lengths or dtypes.

    Examples
    --------
    >>> import torch
    >>> batch = zoo.ImageBatch(torch.zeros(5, 32, 32), torch.tensor([2, 3]))
    >>> len(batch), batch.size
    (2, (32, 32))
    """

    planes: Tensor
    counts: Tensor
    stains: tuple[Stains | None, ...] = ()
    channel_index: Tensor | None = None
    masks: tuple[Tensor | None, ...] = ()
    types: tuple[NDArray[np.int64] | None, ...] = ()

    def __post_init__(self) -> None:
        if self.planes.ndim != 3:
            raise ImageError(f"planes have the shape {tuple(self.planes.shape)}, not (N, H, W)")
        if 0 in self.planes.shape[1:]:
            raise ImageError(f"planes have the shape {tuple(self.planes.shape)}: no pixels")
        if not self.planes.is_floating_point():
            raise ImageError(f"planes are {self.planes.dtype}, but must be floating")
        if self.counts.ndim != 1 or self.counts.dtype != torch.int64 or self.counts.is_cuda:
            raise ImageError("counts must be a (B,) int64 tensor on the CPU")
        if self.counts.numel() == 0 or int(self.counts.min()) < 1:
            raise ImageError("a batch needs at least one image, and each image one channel")
        if int(self.counts.sum()) != self.planes.shape[0]:
            raise ImageError(
                f"counts add up to {int(self.counts.sum())}, "
                f"but there are {self.planes.shape[0]} planes"
            )
        if self.stains and len(self.stains) != len(self):
            raise ImageError(f"there are {len(self)} images, but stains for {len(self.stains)}")
        if self.stains and [len(s) for s in self.stains if s is not None] != [
            int(c) for c, s in zip(self.counts, self.stains, strict=True) if s is not None
        ]:
            raise ImageError("each image needs one stain name for each of its channels, or none")
        index = self.channel_index
        if index is not None and index.shape != self.planes.shape[:1]:
            raise ImageError("channel_index needs one entry for each plane")
        if index is not None and (index.dtype != torch.int64 or index.is_cuda):
            raise ImageError("channel_index must be an int64 tensor on the CPU")
        if self.masks or self.types:
            self._check_objects()

    def _check_objects(self) -> None:
        for what, entries in (("masks", self.masks), ("types", self.types)):
            if entries and len(entries) != len(self):
                raise ImageError(f"there are {len(self)} images, but {what} for {len(entries)}")
        masks = self.masks or (None,) * len(self)
        for i, (mask, types) in enumerate(
            zip(masks, self.types or (None,) * len(self), strict=True)
        ):
            if mask is not None and (mask.dtype != torch.int64 or mask.is_cuda):
                raise ImageError(f"the mask of image {i} must be an int64 tensor on the CPU")
            check_objects(mask, types, self.size, f"image {i}")

    def __len__(self) -> int:
        return self.counts.numel()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.planes.shape[1], self.planes.shape[2]

    def part(self, first: int, last: int) -> "ImageBatch":
        """Return the images from `first` to before `last`, as views.

        Examples
        --------
        >>> import torch
        >>> batch = zoo.ImageBatch(torch.zeros(5, 32, 32), torch.tensor([2, 3]))
        >>> batch.part(1, 2).planes.shape
        torch.Size([3, 32, 32])
        """
        start = int(self.counts[:first].sum())
        stop = start + int(self.counts[first:last].sum())
        index = self.channel_index
        return ImageBatch(
            self.planes[start:stop],
            self.counts[first:last],
            self.stains[first:last],
            None if index is None else index[start:stop],
            self.masks[first:last],
            self.types[first:last],
        )

    def images(self) -> tuple[Tensor, ...]:
        """Views of the individual images, each `(C_i, H, W)`.

        Examples
        --------
        >>> import torch
        >>> batch = zoo.ImageBatch(torch.zeros(5, 32, 32), torch.tensor([2, 3]))
        >>> [len(image) for image in batch.images()]
        [2, 3]
        """
        return self.planes.split(self.counts.tolist())
