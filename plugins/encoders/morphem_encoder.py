"""MorphEm as an encoder: a vision transformer on each channel, whose CLS tokens are joined.

Agrawal et al. (ICLR 2026); the network is that of DINO (Caron et al., 2021).
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from zoo.kernels import TokenLayout, pack_tokens

from zoo import plugin

from .packed_vit import Block, PatchEmbedding, check_patches, features, filled, resampled


class PlaneViT(nn.Module):
    """A vision transformer of single planes, under the names of the code of DINO."""

    def __init__(
        self,
        *,
        img_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        layer_norm_eps: float,
    ) -> None:
        super().__init__()
        self.patch_size, self.grid = patch_size, img_size // patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, embed_dim))
        self.patch_embed = PatchEmbedding(embed_dim, patch_size)
        hidden = int(embed_dim * mlp_ratio)
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, hidden, layer_norm_eps) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=layer_norm_eps)

    def forward(self, planes: Tensor) -> tuple[Tensor, TokenLayout]:
        """Return all tokens `(T, D)` of planes `(N, H, W)`, each an image, and where each is."""
        grid = tuple(side // self.patch_size for side in planes.shape[1:])
        alone = [1] * len(planes)
        layout = TokenLayout.from_counts(alone, [0] * len(planes), grid[0] * grid[1], planes.device)
        stored = self.pos_embed[0]
        own = grid == (self.grid, self.grid)
        x = pack_tokens(
            planes,
            layout,
            self.patch_embed.proj.weight.flatten(1),
            self.patch_embed.bias(),
            position=stored[1:] if own else resampled(stored[1:], *grid),
            channel=torch.zeros_like(stored[:1]),
            first=self.cls_token[0, 0] + stored[0],
            patch=self.patch_size,
        )
        for block in self.blocks:
            x = block(x, layout.plan)
        return self.norm(x), layout


class MorphEmEncoder(plugin.Encoder):
    """The embedding is the CLS token of each channel, joined in the order of channels."""

    outputs = frozenset({"channels", "tokens"})
    requires_equal_channels = True
    differentiable = True
    model: PlaneViT

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
        rows, layout = self.model(batch.planes)
        cls = rows[layout.first_rows].float()  # (sum of C_i, D)
        patches = rows[layout.patch_rows()].float() if tokens else None
        joined = cls.reshape(len(batch), -1)
        return features(
            joined, batch.counts, patches, channels=cls if channels else None, tokens=tokens
        )

    def count_tokens(self, channels: int, size: tuple[int, int]) -> int:
        """Return the tokens of an image: a CLS token and patches for each channel."""
        patch = self.model.patch_size
        return channels * (1 + (size[0] // patch) * (size[1] // patch))


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> MorphEmEncoder:
    """Build from the record's options, filled from `weights`, or drawn by `seed` without."""
    return MorphEmEncoder(spec, model=filled(PlaneViT, spec, weights, seed))
