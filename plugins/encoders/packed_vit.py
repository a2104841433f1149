"""Vision transformers on packed tokens: layers with norms first, and resampled positions.

Shapes: T tokens of all images of a batch, D features, H heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo.kernels import RaggedPlan, ragged_attention


class SelfAttention(nn.Module):
    """Multi-head self-attention within the images of a batch, under timm's names."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, plan: RaggedPlan) -> Tensor:
        """Map rows `(T, D)` to rows."""
        qkv = self.qkv(x).view(len(x), 3, self.heads, -1)
        mixed: Tensor = self.proj(ragged_attention(qkv, plan.cu_seqlens, plan=plan).flatten(1))
        return mixed


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


class Block(nn.Module):
    """A layer with its norms first (Dosovitskiy et al., 2021), under timm's names."""

    def __init__(self, dim: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = MLP(dim, hidden)

    def forward(self, x: Tensor, plan: RaggedPlan) -> Tensor:
        """Map tokens `(T, D)` to tokens."""
        x = x + self.attn(self.norm1(x), plan)
        y: Tensor = x + self.mlp(self.norm2(x))
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


def default_places(counts: Tensor) -> Tensor:
    """Number the channels of each image from 0, `(sum of C_i,)`."""
    return torch.cat([torch.arange(count) for count in counts.tolist()])
