"""ChAda-ViT (Bourriez et al., CVPR 2024), ragged from the patches to the embedding.

Shapes: B images with C_i channels, P patches to a channel, T = sum of (1 + C_i · P) tokens,
D features, H heads.
"""

from typing import Any

import torch
from torch import Tensor, nn
from zoo.kernels import (
    LayerWeights,
    TokenLayout,
    channel_attention,
    norm_qkv,
    pack_tokens,
    ragged_attention,
    residual_mlp,
)

from .packed_layers import PatchEmbedding, resampled


class Attention(nn.Module):
    """Parameters of multi-head self-attention, under the names of `nn.MultiheadAttention`."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)


def _parameter(module: nn.Module, name: str) -> Tensor:
    """Return an attribute of a module, six times as fast where it is a parameter as stored.

    Where it is computed, as after pruning, it is none.
    """
    found = module._parameters.get(name)
    return getattr(module, name) if found is None else found


def _weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor]:
    return _parameter(layer, "weight"), _parameter(layer, "bias")


class Block(nn.Module):
    """One layer, with `norm1` used twice, unlike any standard one.

    With ``W`` the joint projection `self_attn.in_proj`, ``out`` the output projection, and
    ``mlp(y) = linear2(relu(linear1(y)))``::

        q, k, v = W norm1(x)
        y = norm1(x + out(attention(q, k, v)))
        z = norm2(y + mlp(y))

    The residual of the attention is taken from ``x`` itself, that of the MLP from ``y``, after its
    norm. Attention is over the tokens of all channels of an image (inter-channel attention,
    Bourriez et al. 2024). Where the norms lie is taken from the published code, and tested on its
    recorded outputs.
    """

    def __init__(self, dim: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.attention_dtype: torch.dtype | None = None  # where it is not that of the matrices

    def weights(self) -> LayerWeights:
        """Return the parameters as the kernels take them."""
        inside: Any = self._modules
        attention, norm1 = inside["self_attn"], inside["norm1"]
        return LayerWeights(
            _parameter(attention, "in_proj_weight"),
            _parameter(attention, "in_proj_bias"),
            *_weight_and_bias(attention.out_proj),
            *_weight_and_bias(norm1),
            *_weight_and_bias(inside["linear1"]),
            *_weight_and_bias(inside["linear2"]),
            *_weight_and_bias(inside["norm2"]),
            norm1.eps,
        )

    def project(
        self, x: Tensor, query_rows: Tensor | None = None, weights: LayerWeights | None = None
    ) -> Tensor:
        """Turn rows `(T, D)` into queries, keys and values, `(T, 3, H, D / H)`."""
        weights = weights or self.weights()
        qkv = norm_qkv(x, weights, query_rows=query_rows, dtype=self.attention_dtype)
        heads = self.self_attn.heads
        return qkv.view(x.shape[0], 3, heads, x.shape[1] // heads)

    def forward(self, x: Tensor, layout: TokenLayout, cls_only: bool = False) -> Tensor:
        """Map tokens `(T, D)` to tokens, or to the CLS rows `(B, D)` where nothing else is read."""
        plan, weights = layout.plan, self.weights()
        qkv = self.project(x, layout.first_rows if cls_only else None, weights)
        dtype = None if self.attention_dtype is None else weights.up_weight.dtype
        mixed = ragged_attention(qkv, plan.cu_seqlens, plan=plan, first_only=cls_only, dtype=dtype)
        if cls_only:
            x, mixed = x[layout.first_rows], mixed[: len(layout.first_rows)]
        return residual_mlp(x, mixed.flatten(1), weights)


class ChAdaViT(nn.Module):
    """The network; tensor names are those of the published checkpoint."""

    def __init__(
        self,
        *,
        depth: int,
        embed_dim: int,
        num_heads: int,
        patch_size: int,
        img_size: int,
        max_number_channels: int,
        hidden_dim: int,
        layer_norm_eps: float,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.grid = img_size // patch_size
        self.token_learner = PatchEmbedding(embed_dim, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.channel_token = nn.Parameter(torch.zeros(1, max_number_channels, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1, 1 + self.grid**2, embed_dim))
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, hidden_dim, layer_norm_eps) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=layer_norm_eps)

    def forward(
        self,
        planes: Tensor,
        counts: Tensor,
        places: Tensor,
        *,
        layer: int | None = None,
        cls_only: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return CLS rows and patch rows after a layer.

        Parameters
        ----------
        planes
            `(sum of C_i, H, W)`.
        counts
            Channels of each image, `(B,)`, on the CPU.
        places
            Row of the channel embedding for each plane, `(sum of C_i,)`, on the CPU.
        layer
            Number of layers to run; all by default.
        cls_only
            Skip what only the patch rows of the last layer need.

        Returns
        -------
        tuple of Tensor
            `(B, D)` and `(sum of C_i, P, D)` or None, after the final norm.
        """
        layout = self.layout(planes, counts, places)
        return self.encode(planes, layout, layer=layer, cls_only=cls_only)

    def layout(
        self, planes: Tensor, counts: Tensor, places: Tensor, *, room: int | None = None
    ) -> TokenLayout:
        """Lay out a batch; `room` is that of `TokenLayout.from_counts`."""
        height, width = (side // self.patch_size for side in planes.shape[1:])
        return TokenLayout.from_counts(
            counts.tolist(), places.tolist(), height * width, planes.device, room=room
        )

    def encode(
        self, planes: Tensor, layout: TokenLayout, *, layer: int | None, cls_only: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Do what `forward` does, for a layout made beforehand, without waiting for a GPU."""
        x = self.tokens(planes, layout)
        *body, last = self.blocks[:layer]
        for block in body:
            x = block(x, layout)
        x = self.norm(last(x, layout, cls_only))
        if cls_only:
            return x, None
        rows = layout.patch_rows()
        return x[layout.first_rows], x[rows.flatten()].view(*rows.shape, -1)

    def tokens(self, planes: Tensor, layout: TokenLayout) -> Tensor:
        """Return packed tokens `(T, D)`, in the type of the residual stream."""
        projection = self.token_learner.proj
        return pack_tokens(
            planes,
            layout,
            projection.weight.flatten(1),
            self.token_learner.bias(),
            position=self.position(planes.shape[1:]),
            channel=self.channel_token[0, :, 0],
            first=(self.cls_token + self.pos_embed[..., 0, :])[0, 0],
            patch=self.patch_size,
        )

    def attention(
        self, planes: Tensor, counts: Tensor, places: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the attention between channels of each image, in each of the L layers.

        Returns
        -------
        list of tuple of Tensor
            `(L, H, C + 1, C + 1)` from channel to channel, CLS first, and `(L, H, C, P)` from CLS
            to the patches of each channel.
        """
        layout = self.layout(planes, counts, places)
        x, plan, patch_rows = self.tokens(planes, layout), layout.plan, layout.patch_rows()
        starts = torch.cat([plan.cu_seqlens[:-1], patch_rows[:, 0].int()]).sort().values
        groups = torch.cat([starts, plan.cu_seqlens[-1:]])
        layers = []
        blocks: Any = self.blocks
        for block in blocks:
            qkv = block.project(x)
            layers.append(channel_attention(qkv, plan.cu_seqlens, groups, plan=plan))
            x = block(x, layout)
        mass = [torch.stack(squares) for squares in zip(*(a.mass for a in layers), strict=True)]
        first = torch.stack([a.first[patch_rows] for a in layers])  # (L, N, P, H)
        maps = first.permute(0, 3, 1, 2).split(counts.tolist(), dim=2)
        return list(zip(mass, maps, strict=True))

    def position(self, size: torch.Size) -> Tensor:
        """Patch positions for images of this size, `(P, D)`."""
        grid = tuple(side // self.patch_size for side in size)
        stored = self.pos_embed[0, 0, 1:]  # (grid · grid, D)
        return stored if grid == (self.grid, self.grid) else resampled(stored, *grid)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all parameters from a seed, on the CPU, so that they do not depend on the device.

        Tokens and linear weights are truncated normals of sd 0.02, the joint projection of
        attention is Xavier-uniform, the patch projection uniform in ±1/patch size, biases are 0.
        """
        draw = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            elif name.endswith("in_proj_weight"):
                nn.init.xavier_uniform_(parameter, generator=draw)
            elif name == "token_learner.proj.weight":
                parameter.uniform_(-1 / self.patch_size, 1 / self.patch_size, generator=draw)
            else:
                nn.init.trunc_normal_(parameter, std=0.02, generator=draw)
