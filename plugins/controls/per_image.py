"""Base class of the hand-made controls, which describe images one by one in NumPy."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from zoo import plugin

Array = NDArray[np.float64]


def images_of(batch: plugin.ImageBatch) -> Iterator[plugin.Image]:
    """Yield the prepared images of a batch: float32 pixels, stains, mask and types on the CPU."""
    nothing = (None,) * len(batch)
    for pixels, stains, mask, types in zip(
        batch.images(),
        batch.stains or nothing,
        batch.masks or nothing,
        batch.types or nothing,
        strict=True,
    ):
        yield plugin.Image(
            pixels.float().cpu().numpy(),
            stains,
            mask=None if mask is None else mask.numpy(),
            types=types,
        )


class PerImage(plugin.Encoder):
    """A control without parameters that describes images one by one.

    Descriptions of single channels are averaged, or concatenated if the record has the option
    ``join="concat"``; then all images need the same number of channels.
    """

    def __init__(self, spec: plugin.EncoderSpec) -> None:
        super().__init__(spec)
        if spec.options.get("join") == "concat":
            self.requires_equal_channels = True

    @abstractmethod
    def describe(self, image: plugin.Image) -> tuple[Array, Array | None]:
        """Return the embedding of a prepared image, `(D,)`, and of its channels, `(C, K)` or None.

        A control whose `outputs` names ``"channels"`` returns both.
        """

    def forward(
        self,
        batch: plugin.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> plugin.Features:
        """Describe the images one by one."""
        found = [self.describe(image) for image in images_of(batch)]

        def ready(rows: Sequence[Array]) -> torch.Tensor:
            return torch.from_numpy(np.concatenate(rows).astype(np.float32)).to(batch.planes.device)

        return plugin.Features(
            ready([row[None] for row, _ in found]),
            batch.counts,
            ready([each for _, each in found if each is not None]) if channels else None,
        )
