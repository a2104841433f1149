"""ChannelViT as an encoder: patches of each channel are tokens, and channels have embeddings.

Bao, Sivanandan and Karaletsos (ICLR 2024).
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from zoo.kernels import TokenLayout, pack_tokens

from zoo import plugin

from .channel_tokens import ChannelTokens
from .packed_layers import MLP, Block, resampled
from .packed_vit import filled, tensor_names


class ChannelPatchEmbedding(nn.Module):
    """Parameters of one projection of patches, and an embedding of each channel.

    `sampled` says in which of the two published layouts.
    """

    def __init__(self, dim: int, patch: int, channels: int, sampled: bool) -> None:
        super().__init__()
        self.proj = nn.Conv3d(1, dim, kernel_size=(1, patch, patch))
        self.channel_embed: nn.Parameter | nn.Embedding
        if sampled:
            self.channel_embed = nn.Embedding(channels, dim)
        else:
            self.channel_embed = nn.Parameter(torch.zeros(1, dim, channels, 1, 1))

    def channels(self) -> Tensor:
        """Return the embedding of each channel, `(ids, D)`."""
        if isinstance(self.channel_embed, nn.Embedding):
            return self.channel_embed.weight
        return self.channel_embed[0, :, :, 0, 0].T.contiguous()


class ChannelViT(nn.Module):
    """The network; tensor names are those of the published checkpoints."""

    def __init__(
        self,
        *,
        img_size: int,
        patch_size: int,
        in_chans: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        layer_norm_eps: float,
        sampled: bool = False,
    ) -> None:
        super().__init__()
        self.patch_size, self.grid = patch_size, img_size // patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, embed_dim))
        self.patch_embed = ChannelPatchEmbedding(embed_dim, patch_size, in_chans, sampled)
        hidden = int(embed_dim * mlp_ratio)
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, MLP(embed_dim, hidden), layer_norm_eps)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=layer_norm_eps)

    def forward(self, planes: Tensor, counts: Tensor, places: Tensor) -> tuple[Tensor, TokenLayout]:
        """Return all tokens `(T, D)` of planes `(sum of C_i, H, W)`, and where each is."""
        rows, columns = (side // self.patch_size for side in planes.shape[1:])
        layout = TokenLayout.from_counts(
            counts.tolist(), places.tolist(), rows * columns, planes.device
        )
        projection = self.patch_embed.proj
        assert projection.bias is not None
        stored = self.pos_embed[0, 1:]
        position = resampled(stored, rows, columns)
        x = pack_tokens(
            planes,
            layout,
            projection.weight.flatten(1),
            projection.bias,
            position=position,
            channel=self.patch_embed.channels(),
            first=(self.cls_token[0] + self.pos_embed[0, :1])[0],
            patch=self.patch_size,
        )
        if rows == columns:
            x = self._unresampled(x, layout, counts.tolist(), stored, position)
        for block in self.blocks:
            x = block(x, layout.plan)
        return self.norm(x), layout

    def _unresampled(
        self, x: Tensor, layout: TokenLayout, counts: list[int], stored: Tensor, position: Tensor
    ) -> Tensor:
        """Give images with as many patches as the table has rows that table itself.

        So does the authors' code, which counts the patches of all channels: one channel at the size
        of the training, but also four channels at half of it.
        """
        at = layout.patch_rows().split(counts)
        same = [rows.flatten() for rows in at if rows.numel() == len(stored)]
        if not same:
            return x
        moved = stored - position.repeat(len(stored) // len(position), 1)
        return x.index_add(0, torch.cat(same), moved.repeat(len(same), 1).to(x.dtype))


class ChannelViTEncoder(ChannelTokens):
    """The embedding is the CLS token."""

    uses_channel_index = True
    model: ChannelViT

    def embed(
        self, batch: plugin.ImageBatch, places: Tensor, *, layer: int | None, patches: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the CLS rows, and patches."""
        rows, layout = self.model(batch.planes, batch.counts, places)
        return (
            rows[layout.first_rows].float(),
            rows[layout.patch_rows()].float() if patches else None,
        )


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> ChannelViTEncoder:
    """Build from the record's options, filled from `weights`, or drawn by `seed` without."""
    # Checkpoints trained with hierarchical channel sampling hold the embedding as a table.
    sampled = "patch_embed.channel_embed.weight" in tensor_names(weights)
    model = filled(ChannelViT, spec, weights, seed, sampled=sampled)
    return ChannelViTEncoder(spec, model=model)
