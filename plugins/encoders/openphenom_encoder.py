"""OpenPhenom as an encoder: a channel-agnostic masked autoencoder without its decoder.

Kraus et al. (CVPR 2024). Tokens have positions and no channel embedding, so that the order of
channels does not matter. Attention and MLP of a layer run side by side.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo.kernels import RaggedPlan, TokenLayout, pack_tokens, ragged_attention

from zoo import plugin

from .channel_tokens import ChannelTokens
from .packed_layers import LayerScale, PatchEmbedding, by_rows
from .packed_vit import filled, tensor_names
from .part_of_checkpoint import load_part
from .random_parameters import sine_cosine

EPS = 1e-6
# Where the published file has the encoder, beside the decoder of the autoencoder.
_PUBLISHED = "encoder.vit_backbone."
# The published network has this in place of a last norm: for pooled rows, which the authors' own
# embedding does not use. So tokens come out of the last layer as they are.
_UNUSED_NORM = f"{_PUBLISHED}fc_norm."


class ParallelBlock(nn.Module):
    """Attention and MLP of the same normalised rows, added together, under timm's names.

    One matrix gives the hidden units of the MLP and queries, keys and values, of which only the
    former have a bias; queries and keys are normalised in each head (Dehghani et al., 2023).
    """

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.hidden = heads, hidden
        self.in_norm = nn.LayerNorm(dim, eps=EPS)
        self.in_proj = nn.Linear(dim, hidden + 3 * dim, bias=False)
        self.mlp_bias = nn.Parameter(torch.zeros(hidden))
        self.q_norm = nn.LayerNorm(dim // heads, eps=EPS)
        self.k_norm = nn.LayerNorm(dim // heads, eps=EPS)
        self.attn_out_proj = nn.Linear(dim, dim)
        self.mlp_out_proj = nn.Linear(hidden, dim)
        self.ls = LayerScale(dim)

    def forward(self, x: Tensor, plan: RaggedPlan) -> Tensor:
        """Map tokens `(T, D)` to tokens."""
        mixed = ragged_attention(by_rows(self.project, x), plan.cu_seqlens, plan=plan)
        return by_rows(self.rest, x, mixed.flatten(1))

    def project(self, x: Tensor) -> Tensor:
        """Map rows `(T, D)` to queries, keys and values `(T, 3, H, D / H)`."""
        joint = F.linear(self.in_norm(x), self.in_proj.weight[self.hidden :])
        q, k, v = joint.view(len(x), 3, self.heads, -1).unbind(1)
        return torch.stack([self.q_norm(q), self.k_norm(k), v], dim=1)

    def rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add both branches to rows, from what attention gives."""
        inner = F.linear(self.in_norm(x), self.in_proj.weight[: self.hidden], self.mlp_bias)
        both = self.attn_out_proj(mixed) + self.mlp_out_proj(F.gelu(inner))
        y: Tensor = x + self.ls(both)
        return y


class Backbone(nn.Module):
    """The encoder of the autoencoder."""

    def __init__(
        self,
        *,
        img_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        max_in_chans: int,
        mlp_ratio: float,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        self.patch_size, self.patches = patch_size, (img_size // patch_size) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + max_in_chans * self.patches, embed_dim))
        self.patch_embed = PatchEmbedding(embed_dim, patch_size)
        hidden = int(embed_dim * mlp_ratio)
        self.blocks = nn.ModuleList(
            ParallelBlock(embed_dim, num_heads, hidden) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=EPS) if final_norm else nn.Identity()

    @torch.no_grad()
    def fix_positions(self) -> None:
        """Set the positions, which are not trained: those of a grid for each channel, 0 for CLS."""
        side = round(self.patches**0.5)
        grid = sine_cosine(side, side, self.pos_embed.shape[2])
        channels = (self.pos_embed.shape[1] - 1) // self.patches
        self.pos_embed[0, 0] = 0
        self.pos_embed[0, 1:] = grid.repeat(channels, 1)

    def forward(self, planes: Tensor, counts: Tensor) -> tuple[Tensor, TokenLayout]:
        """Return all tokens `(T, D)` of planes `(sum of C_i, H, W)`, and where each is."""
        layout = TokenLayout.from_counts(
            counts.tolist(), [0] * len(planes), self.patches, planes.device
        )
        position = self.pos_embed[0]
        x = pack_tokens(
            planes,
            layout,
            self.patch_embed.proj.weight.flatten(1),
            self.patch_embed.bias(),
            position=position[1 : 1 + self.patches],  # the same for each channel
            channel=torch.zeros_like(position[:1]),
            first=self.cls_token[0, 0] + position[0],
            patch=self.patch_size,
        )
        for block in self.blocks:
            x = block(x, layout.plan)
        return self.norm(x), layout


class OpenPhenom(nn.Module):
    """The network; tensor names are those of the published checkpoint."""

    def __init__(self, **options: float) -> None:
        super().__init__()
        self.vit_backbone = Backbone(**options)  # type: ignore[arg-type]


class OpenPhenomEncoder(ChannelTokens):
    """The embedding is the mean of all patches."""

    model: OpenPhenom

    def embed(
        self, batch: plugin.ImageBatch, places: Tensor, *, layer: int | None, patches: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the means, and patches; images must have the size of the training."""
        side = int(self.spec.options["img_size"])
        if tuple(batch.size) != (side, side):
            raise plugin.ImageError(
                f"images are {batch.size[0]} × {batch.size[1]} pixels, but {self.name} takes "
                f"{side} × {side}: let encode prepare them with preprocess=True"
            )
        rows, layout = self.model.vit_backbone(batch.planes, batch.counts)
        found = rows[layout.patch_rows()].float()  # (sum of C_i, P, D)
        images = found.mean(1).split(batch.counts.tolist())
        return torch.stack([channels.mean(0) for channels in images]), found


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> OpenPhenomEncoder:
    """Build from the record's options, filled from `weights`, or drawn by `seed` without."""
    names = tensor_names(weights)
    if any(name.startswith(_PUBLISHED) for name in names):
        assert weights is not None
        normed = not any(name.startswith(_UNUSED_NORM) for name in names)
        with torch.device("meta"):
            model = OpenPhenom(**spec.options, final_norm=normed)  # type: ignore[arg-type]
        ignored = ("decoder", "encoder_", *(() if normed else (_UNUSED_NORM,)))
        load_part(model, weights, _PUBLISHED.removesuffix("vit_backbone."), ignored)
        return OpenPhenomEncoder(spec, model=model)
    model = filled(OpenPhenom, spec, weights, seed)
    if weights is None:
        model.vit_backbone.fix_positions()
    return OpenPhenomEncoder(spec, model=model)
