"""Encoders whose patches of all channels are one sequence, in batches of mixed channel counts."""

from abc import abstractmethod

from torch import Tensor

from zoo import plugin

from .packed_vit import check_patches, features, places_of


class ChannelTokens(plugin.Encoder):
    """A channel's embedding is the mean of its patches; `embed` says what that of an image is."""

    outputs = frozenset({"channels", "tokens"})
    differentiable = True

    @abstractmethod
    def embed(
        self, batch: plugin.ImageBatch, places: Tensor, *, layer: int | None, patches: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the embedding `(B, D)`, and patches `(sum of C_i, P, D)` where they are wanted.

        `places` are the numbers of the channels, `(sum of C_i,)`.
        """

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.spec.options["patch_size"])

    def places(self, batch: plugin.ImageBatch) -> Tensor:
        """Return the number of each channel, after checking it and the size of the images."""
        check_patches(batch.size, self.patch, self.name)
        most = self.channels[1]
        assert most is not None
        return places_of(batch, most, self.name)

    def forward(
        self,
        batch: plugin.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> plugin.Features:
        """Embed a batch; channels without a number are counted from 0."""
        embedding, patches = self.embed(
            batch, self.places(batch), layer=layer, patches=channels or tokens
        )
        means = patches.mean(1) if patches is not None and channels else None
        return features(embedding, batch.counts, patches, channels=means, tokens=tokens)

    def count_tokens(self, channels: int, size: tuple[int, int]) -> int:
        """Return the tokens of an image: a CLS token, and those of the patches."""
        return 1 + channels * (size[0] // self.patch) * (size[1] // self.patch)
