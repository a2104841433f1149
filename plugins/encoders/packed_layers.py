"""Layers of vision transformers on packed tokens, positions, and projections of patches.

Shapes: T tokens of all images of a batch, D features, H heads.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo.kernels import RaggedPlan, ragged_attention

ROWS = 1024
"""Rows that a processor takes through a layer at once."""


def by_rows(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """Apply a function of rows, on a processor without gradients to some of them at a time.

    Activations of all rows are so large that the system takes their memory back after each layer
    and clears it before the next, which takes up to a sixth of the time.
    """
    if rows[0].device.type != "cpu" or torch.is_grad_enabled():
        return function(*rows)
    parts = zip(*(part.split(ROWS) for part in rows), strict=True)
    return torch.cat([function(*part) for part in parts])


class SelfAttention(nn.Module):
    """Multi-head self-attention within the images of a batch, under timm's names."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, qkv: Tensor, plan: RaggedPlan) -> Tensor:
        """Map projected rows `(T, 3 · D)` to rows `(T, D)`, before the output projection."""
        joint = qkv.view(len(qkv), 3, self.heads, -1)
        return ragged_attention(joint, plan.cu_seqlens, plan=plan).flatten(1)


class MLP(nn.Module):
    """Two linear layers with GELU between them, under timm's names."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows `(T, D)` to rows."""
        rows: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return rows


class SwiGLU(nn.Module):
    """Two linear layers with a gate between them (Shazeer, 2020), under the names of DINOv2.

    `hidden` is that of the MLP in whose place it stands; two thirds of it, rounded up to a multiple
    of 8, keep the number of parameters.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        kept = (int(hidden * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(dim, 2 * kept)
        self.w3 = nn.Linear(kept, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows `(T, D)` to rows."""
        gate, value = self.w12(x).chunk(2, dim=1)
        rows: Tensor = self.w3(F.silu(gate) * value)
        return rows


class LayerScale(nn.Module):
    """A learned factor of each feature of a residual branch (Touvron et al., 2021)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map rows `(T, D)` to rows."""
        return x * self.gamma


class Block(nn.Module):
    """A layer with its norms first (Dosovitskiy et al., 2021), under timm's names."""

    def __init__(self, dim: int, heads: int, mlp: nn.Module, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = mlp

    def forward(self, x: Tensor, plan: RaggedPlan) -> Tensor:
        """Map tokens `(T, D)` to tokens."""
        return by_rows(self.rest, x, self.attn(by_rows(self.project, x), plan))

    def project(self, x: Tensor) -> Tensor:
        """Map rows `(T, D)` to queries, keys and values `(T, 3 · D)`."""
        qkv: Tensor = self.attn.qkv(self.norm1(x))
        return qkv

    def rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add both branches to rows, from what attention gives."""
        x = x + self.attn.proj(mixed)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class ScaledBlock(Block):
    """A layer whose branches are scaled, under the names of DINOv2."""

    def __init__(self, dim: int, heads: int, mlp: nn.Module, eps: float) -> None:
        super().__init__(dim, heads, mlp, eps)
        self.ls1, self.ls2 = LayerScale(dim), LayerScale(dim)

    def rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add both branches to rows, from what attention gives."""
        x = x + self.ls1(self.attn.proj(mixed))
        y: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return y


def resampled(stored: Tensor, rows: int, columns: int) -> Tensor:
    """Resample the positions of a square grid to another grid, as the code of DINO does.

    Parameters
    ----------
    stored
        `(grid², D)`, row by row.
    rows, columns
        The new grid.

    Returns
    -------
    Tensor
        `(rows · columns, D)`.
    """
    grid = round(len(stored) ** 0.5)
    square = stored.view(1, grid, grid, -1).permute(0, 3, 1, 2)
    # The 0.1 of the original enters the coordinates and changes values, so no `size=` here.
    factors = [(rows + 0.1) / grid, (columns + 0.1) / grid]
    found = F.interpolate(square.float(), scale_factor=factors, mode="bicubic")
    return found.flatten(2)[0].T.to(stored.dtype)


class PatchEmbedding(nn.Module):
    """Parameters of one projection of patches, of single planes or more, under timm's names."""

    def __init__(self, dim: int, patch: int, channels: int = 1) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)

    def bias(self) -> Tensor:
        """Return what is added to each projected patch."""
        assert self.proj.bias is not None
        return self.proj.bias
