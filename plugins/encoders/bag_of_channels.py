"""Encoders of one channel at a time, whose CLS tokens are joined in the order of channels."""

from torch import nn

from zoo import plugin

from .packed_vit import check_patches, features


class PlaneNetwork(nn.Module):
    """A network that maps `(N, 1, H, W)` to CLS tokens `(N, D)` and patches `(N, P, D)`."""

    patch_size: int
    others: int = 1
    """Tokens that are no patches: CLS, and registers."""


class BagOfChannels(plugin.Encoder):
    """The embedding is the CLS token of each channel, joined in the order of channels."""

    outputs = frozenset({"channels", "tokens"})
    requires_equal_channels = True
    differentiable = True
    model: PlaneNetwork

    def forward(
        self,
        batch: plugin.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> plugin.Features:
        """Embed a batch of images with equally many channels."""
        check_patches(batch.size, self.model.patch_size, self.name)
        cls, patches = self.model(batch.planes[:, None])
        cls = cls.float()  # (sum of C_i, D)
        return features(
            cls.reshape(len(batch), -1),
            batch.counts,
            patches.float() if tokens else None,
            channels=cls if channels else None,
            tokens=tokens,
        )

    def count_tokens(self, channels: int, size: tuple[int, int]) -> int:
        """Return the tokens of an image: for each channel its patches, and the others."""
        patch = self.model.patch_size
        return channels * (self.model.others + (size[0] // patch) * (size[1] // patch))
