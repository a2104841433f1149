"""Ablations of an encoder: no interaction between channels, or no intensities."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo import plugin

from .per_image import images_of
from .segmentation import segment


class _Ablation(plugin.Encoder):
    """A wrapper of another encoder, with the preprocessing of that encoder."""

    def __init__(self, spec: plugin.EncoderSpec, inner: plugin.Encoder) -> None:
        super().__init__(spec, model=inner.model)
        self.inner = inner
        self.requires_object_types = inner.requires_object_types
        self.outputs = inner.outputs & {"layer", "tokens"}

    @property
    def own_prepare(self) -> str | None:
        """Code of the encoder inside that prepares images, or None."""
        return self.inner.own_prepare

    @property
    def depth(self) -> int | None:
        """Layers of the encoder inside."""
        return self.inner.depth

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move to a device, and to a floating dtype where one is given; returns itself."""
        self.inner.to(device, dtype)
        super().to(device)
        self.dtype = self.inner.dtype  # the network is that of the inner encoder, which converts it
        return self

    def usual_dtype(self, device: torch.device) -> torch.dtype:
        """That of the inner encoder."""
        return self.inner.usual_dtype(device)

    def with_preprocessing(self, preprocessing: plugin.Preprocessing) -> Self:
        """Use another preprocessing than the record's from now on; returns itself."""
        self.inner.with_preprocessing(preprocessing)
        return super().with_preprocessing(preprocessing)

    def prepare(self, image: NDArray[Any] | Tensor, item: str) -> Tensor:
        """Prepare as the inner encoder does."""
        return self.inner.prepare(image, item)

    def prepare_mask(self, mask: NDArray[Any] | Tensor, item: str) -> Tensor:
        """Prepare as the inner encoder does."""
        return self.inner.prepare_mask(mask, item)

    def check_objects(
        self, mask: NDArray[Any] | None, types: NDArray[np.int64] | None, item: str
    ) -> None:
        """Raise the errors of the inner encoder."""
        self.inner.check_objects(mask, types, item)


class OneChannel(_Ablation):
    """Encodes each channel as an image of one channel, and averages or concatenates them.

    All channels of a batch are encoded in one pass, each with channel index 0 and the mask of its
    image.
    """

    def __init__(self, spec: plugin.EncoderSpec, inner: plugin.Encoder) -> None:
        super().__init__(spec, inner)
        self.outputs |= {"channels"}
        self.requires_equal_channels = spec.options["join"] == "concat"

    def forward(
        self,
        batch: plugin.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> plugin.Features:
        """Embed all channels as images of one channel."""
        counts = batch.counts.tolist()
        owner = [i for i, count in enumerate(counts) for _ in range(count)]
        nothing = (None,) * len(batch)
        names = [n or (None,) * c for n, c in zip(batch.stains or nothing, counts, strict=True)]
        alone = plugin.ImageBatch(
            batch.planes,
            torch.ones(len(owner), dtype=torch.int64),
            tuple(None if name is None else (name,) for image in names for name in image),
            masks=tuple(batch.masks[i] for i in owner) if batch.masks else (),
            types=tuple(batch.types[i] for i in owner) if batch.types else (),
        )
        found = self.inner.forward(alone, tokens=tokens, layer=layer)
        each = found.embedding.float()  # (sum of C_i, D)
        if self.requires_equal_channels:
            embedding = each.reshape(len(batch), -1)
        else:
            embedding = torch.stack([image.mean(0) for image in each.split(counts)])
        offsets = found.token_offsets
        if offsets is not None:
            offsets = offsets[torch.cat([batch.counts.new_zeros(1), batch.counts.cumsum(0)])]
        return plugin.Features(
            embedding, batch.counts, each if channels else None, found.tokens, offsets
        )


class MaskOnly(_Ablation):
    """Encodes a binary mask of the objects as the only channel, without intensities.

    The mask is that of the image if it has one; otherwise objects are found by a threshold.
    """

    def forward(
        self,
        batch: plugin.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> plugin.Features:
        """Embed all masks as images of one channel."""
        covered = [
            segment(image.pixels, image.stains) if image.mask is None else image.mask
            for image in images_of(batch)
        ]
        planes = torch.from_numpy(np.stack(covered) > 0).to(batch.planes)
        alone = plugin.ImageBatch(
            planes, torch.ones_like(batch.counts), masks=batch.masks, types=batch.types
        )
        found = self.inner.forward(alone, tokens=tokens, layer=layer)
        return plugin.Features(
            found.embedding, batch.counts, None, found.tokens, found.token_offsets
        )


def build_one_channel(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> OneChannel:
    """Build the encoder that the record's options name, and wrap it."""
    return OneChannel(spec, _inner(spec, weights, seed))


def build_mask_only(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> MaskOnly:
    """Build the encoder that the record's options name, and wrap it."""
    return MaskOnly(spec, _inner(spec, weights, seed))


def _inner(spec: plugin.EncoderSpec, weights: Path | None, seed: int) -> plugin.Encoder:
    return plugin.build(plugin.get_spec(str(spec.options["encoder"])), weights=weights, seed=seed)
