"""SubCell as an encoder: a vision transformer of all channels, and gated attention over its tokens.

Gupta et al. (2024); the pooling is that of Ilse, Tomczak and Welling (2018).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo.kernels import RaggedPlan, ragged_attention

from zoo import plugin

from .one_input import OneInput
from .packed_vit import filled, tensor_names


class Dense(nn.Module):
    """A linear layer, called as Transformers calls it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)


class Projections(nn.Module):
    """Queries, keys and values of a layer."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))


class AttentionParts(nn.Module):
    """The two halves of attention, under the names of Transformers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = Projections(dim)
        self.output = Dense(dim, dim)


class Layer(nn.Module):
    """A layer with its norms first, under the names of Transformers."""

    def __init__(self, dim: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention = AttentionParts(dim)
        self.intermediate = Dense(dim, hidden)
        self.output = Dense(hidden, dim)
        self.layernorm_before = nn.LayerNorm(dim, eps=eps)
        self.layernorm_after = nn.LayerNorm(dim, eps=eps)

    def forward(self, x: Tensor, plan: RaggedPlan) -> Tensor:
        """Map tokens `(T, D)` to tokens."""
        y, parts = self.layernorm_before(x), self.attention.attention
        three = [
            part(y).view(len(x), self.heads, -1) for part in (parts.query, parts.key, parts.value)
        ]
        mixed = ragged_attention(torch.stack(three, 1), plan.cu_seqlens, plan=plan).flatten(1)
        x = x + self.attention.output.dense(mixed)
        inner = F.gelu(self.intermediate.dense(self.layernorm_after(x)))
        rows: Tensor = x + self.output.dense(inner)
        return rows


class PatchEmbeddings(nn.Module):
    """Parameters of the projection of patches."""

    def __init__(self, dim: int, patch: int, channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)


class Embeddings(nn.Module):
    """From images to tokens."""

    def __init__(self, dim: int, patch: int, channels: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + grid**2, dim))
        self.patch_embeddings = PatchEmbeddings(dim, patch, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(B, C, H, W)` to tokens `(B, 1 + P, D)`."""
        patches = self.patch_embeddings.projection(images)  # (B, D, h, w)
        rows, columns = patches.shape[2:]
        stored = self.position_embeddings
        square = stored[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        if (rows, columns) != (self.grid, self.grid):
            square = F.interpolate(square, (rows, columns), mode="bicubic", align_corners=False)
        x = (patches + square).flatten(2).mT
        first = (self.cls_token + stored[:, :1]).expand(len(x), -1, -1)
        return torch.cat([first, x], 1)


class Layers(nn.Module):
    """All layers, under the names of Transformers."""

    def __init__(self, depth: int, dim: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(dim, heads, hidden, eps) for _ in range(depth))


class Transformer(nn.Module):
    """The vision transformer, under the names of Transformers."""

    def __init__(
        self,
        embeddings: Embeddings,
        layers: Layers,
        dim: int,
        eps: float,
    ) -> None:
        super().__init__()
        self.embeddings, self.encoder = embeddings, layers
        self.layernorm = nn.LayerNorm(dim, eps=eps)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(B, C, H, W)` to tokens `(B, 1 + P, D)`."""
        x = self.embeddings(images)
        plan = RaggedPlan.from_lengths([x.shape[1]] * len(x), x.device)
        rows = x.flatten(0, 1)
        for layer in self.encoder.layer:
            rows = layer(rows, plan)
        normed: Tensor = self.layernorm(rows)
        return normed.view(x.shape)


class GatedPool(nn.Module):
    """Attention over all tokens, with a gate; one weighted sum for each head."""

    def __init__(self, dim: int, inner: int, heads: int, shifted: bool) -> None:
        super().__init__()
        # In published files the linear layers are the second of their sequence.
        before = [nn.Identity()] if shifted else []
        self.attention_v = nn.Sequential(*before, nn.Linear(dim, inner), nn.Tanh())
        self.attention_u = nn.Sequential(*before, nn.Linear(dim, inner), nn.GELU())
        self.attention = nn.Linear(inner, heads)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map tokens `(B, n, D)` to `(B, heads · D)`, and weights `(B, heads, n)`."""
        scores = self.attention(self.attention_v(x) * self.attention_u(x))
        weights = scores.mT.softmax(-1)
        return (weights @ x).flatten(1), weights


class SubCell(nn.Module):
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
        hidden_dim: int,
        layer_norm_eps: float,
        pool_dim: int,
        pool_heads: int,
        shifted: bool = False,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.encoder = Transformer(
            Embeddings(embed_dim, patch_size, in_chans, img_size // patch_size),
            Layers(depth, embed_dim, num_heads, hidden_dim, layer_norm_eps),
            embed_dim,
            layer_norm_eps,
        )
        self.pool_model = GatedPool(embed_dim, pool_dim, pool_heads, shifted)


class SubCellEncoder(OneInput):
    """The embedding is what the pooling gives."""

    model: SubCell

    def embed(self, images: Tensor) -> Tensor:
        """Pool all tokens."""
        return self.model.pool_model(self.model.encoder(images))[0]  # type: ignore[no-any-return]

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return self.model.patch_size


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> SubCellEncoder:
    """Build from the record's options, filled from `weights`, or drawn by `seed` without."""
    shifted = "pool_model.attention_v.1.weight" in tensor_names(weights)
    return SubCellEncoder(spec, model=filled(SubCell, spec, weights, seed, shifted=shifted))
