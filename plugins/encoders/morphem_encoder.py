"""MorphEm as an encoder: a vision transformer on each channel, whose CLS tokens are joined.

Agrawal et al. (ICLR 2026); the network is that of DINO (Caron et al., 2021).
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from zoo.kernels import TokenLayout, pack_tokens

from zoo import plugin

from .bag_of_channels import BagOfChannels, PlaneNetwork
from .packed_layers import MLP, Block, PatchEmbedding, resampled
from .packed_vit import filled


class PlaneViT(PlaneNetwork):
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
            Block(embed_dim, num_heads, MLP(embed_dim, hidden), layer_norm_eps)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=layer_norm_eps)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return CLS tokens `(N, D)` and patches `(N, P, D)` of single planes `(N, 1, H, W)`."""
        planes = images[:, 0]
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
        rows = self.norm(x).view(len(planes), 1 + layout.patches, -1)
        return rows[:, 0], rows[:, 1:]


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> BagOfChannels:
    """Build from the record's options, filled from `weights`, or drawn by `seed` without."""
    return BagOfChannels(spec, model=filled(PlaneViT, spec, weights, seed))
