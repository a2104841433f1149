"""Cell-DINO and channel-adaptive DINO as encoders: vision transformers of DINOv2 for fluorescence.

Moutakanni et al. (2025); De Lorenci et al. (TMLR 2025); the network is that of Oquab et al. (2023).
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from zoo.kernels import RaggedPlan

from zoo import plugin

from .bag_of_channels import BagOfChannels, PlaneNetwork
from .one_input import OneInput
from .packed_layers import MLP, PatchEmbedding, ScaledBlock, SwiGLU, resampled
from .packed_vit import filled

EPS = 1e-6


class CellDino(PlaneNetwork):
    """The network; tensor names are those of the published checkpoints.

    `block_chunks` says how many groups the names of the layers are in, 0 for none.
    """

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
        ffn_layer: str,
        block_chunks: int,
        num_register_tokens: int,
        channel_adaptive: bool,
    ) -> None:
        super().__init__()
        self.patch_size, self.grid = patch_size, img_size // patch_size
        self.others = 1 + num_register_tokens
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, embed_dim))
        self.register_tokens = None
        if num_register_tokens:
            self.register_tokens = nn.Parameter(torch.zeros(1, num_register_tokens, embed_dim))
        self.patch_embed = PatchEmbedding(embed_dim, patch_size, in_chans)
        mlp: type[MLP] | type[SwiGLU] = MLP if ffn_layer == "mlp" else SwiGLU
        hidden = int(embed_dim * mlp_ratio)
        self.blocks = _grouped(
            [ScaledBlock(embed_dim, num_heads, mlp(embed_dim, hidden), EPS) for _ in range(depth)],
            block_chunks,
        )
        self.norm = nn.LayerNorm(embed_dim, eps=EPS)
        self.mask_token = nn.Parameter(torch.zeros(1, embed_dim))  # of the training alone

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return CLS tokens `(B, D)` and patches `(B, P, D)` of images `(B, C, H, W)`."""
        patches = self.patch_embed.proj(images)  # (B, D, h, w)
        grid = patches.shape[2:]
        stored = self.pos_embed[0]
        own = tuple(grid) == (self.grid, self.grid)
        position = stored[1:] if own else resampled(stored[1:], *grid)
        parts = [self.cls_token + stored[:1]]
        if self.register_tokens is not None:
            parts.append(self.register_tokens)  # which have no position
        first = torch.cat(parts, 1).expand(len(images), -1, -1)
        x = torch.cat([first, patches.flatten(2).mT + position], 1)
        plan = RaggedPlan.from_lengths([x.shape[1]] * len(x), x.device)
        rows = x.flatten(0, 1)
        for layer in self.blocks.modules():
            if isinstance(layer, ScaledBlock):
                rows = layer(rows, plan)
        x = self.norm(rows).view(x.shape)
        return x[:, 0], x[:, self.others :]


def _grouped(layers: list[ScaledBlock], groups: int) -> nn.ModuleList:
    """Name layers as DINOv2 does: by group and number, where they are in groups."""
    if not groups:
        return nn.ModuleList(layers)
    size = len(layers) // groups  # what is left over makes one more
    numbers = range(len(layers))
    return nn.ModuleList(
        nn.ModuleDict({str(i): layers[i] for i in numbers[first : first + size]})
        for first in numbers[::size]
    )


class CellDinoEncoder(OneInput):
    """The embedding is the CLS token."""

    model: CellDino

    def embed(self, images: Tensor) -> Tensor:
        """Return the CLS tokens."""
        return self.model(images)[0]  # type: ignore[no-any-return]

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return self.model.patch_size

    @property
    def others(self) -> int:
        """The CLS token and registers."""
        return self.model.others


def build(
    spec: plugin.EncoderSpec, *, weights: Path | None, seed: int
) -> CellDinoEncoder | BagOfChannels:
    """Build from the record's options, filled from `weights`, or drawn by `seed` without."""
    model = filled(CellDino, spec, weights, seed)
    if spec.options["channel_adaptive"]:
        return BagOfChannels(spec, model=model)
    return CellDinoEncoder(spec, model=model)
