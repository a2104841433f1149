"""Encoders that take the channels of an image together, each at a place of its own."""

from abc import abstractmethod

from torch import Tensor

from zoo import plugin

from .packed_vit import check_patches, in_slots


class OneInput(plugin.Encoder):
    """Images have as many channels as the network; `embed` says what it makes of them."""

    uses_channel_index = True
    differentiable = True

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Map images `(B, C, H, W)`, with their channels in order, to embeddings `(B, D)`."""

    @property
    @abstractmethod
    def patch(self) -> int:
        """Side of a patch in pixels."""

    @property
    def others(self) -> int:
        """Tokens that are no patches: the CLS token, and registers."""
        return 1

    def forward(
        self,
        batch: plugin.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> plugin.Features:
        """Embed a batch."""
        check_patches(batch.size, self.patch, self.name)
        images = in_slots(batch, self.channels[0], self.name)
        return plugin.Features(self.embed(images).float(), batch.counts)

    def count_tokens(self, channels: int, size: tuple[int, int]) -> int:
        """Return the tokens of an image, however many channels it has."""
        return self.others + (size[0] // self.patch) * (size[1] // self.patch)
