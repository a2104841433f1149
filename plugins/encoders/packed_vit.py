"""What vision transformers on packed tokens share: layers, positions, checks, and outputs.

Shapes: T tokens of all images of a batch, D features, H heads.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from zoo.kernels import RaggedPlan, ragged_attention

from zoo import plugin

from .random_parameters import draw_parameters

Network = TypeVar("Network", bound=nn.Module)


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


def places_of(batch: plugin.ImageBatch, known: int, name: str) -> Tensor:
    """Return the number of each channel, `(sum of C_i,)`; by default counted from 0.

    Raises `ImageError` for a number that is not among the `known` of the encoder called `name`.
    """
    if batch.channel_index is None:
        return torch.cat([torch.arange(count) for count in batch.counts.tolist()])
    places = batch.channel_index
    if int(places.min()) < 0 or int(places.max()) >= known:
        raise plugin.ImageError(
            f"channel_index must lie in 0 to {known - 1} for {name}, but goes from "
            f"{int(places.min())} to {int(places.max())}"
        )
    return places


def in_slots(batch: plugin.ImageBatch, count: int, name: str) -> Tensor:
    """Return images `(B, C, H, W)` with each channel at the place that its number says.

    Raises `ImageError` unless each image has the `count` channels of the encoder called `name`,
    each once.
    """
    if batch.counts.tolist() != [count] * len(batch):
        raise plugin.ImageError(f"{name} takes {count} channels, no more and no fewer")
    places = places_of(batch, count, name).view(-1, count)
    order = places.argsort(1)
    if bool((places.gather(1, order) != torch.arange(count)).any()):
        raise plugin.ImageError(
            f"channel_index must name each of the {count} channels of {name} once"
        )
    images = batch.planes.view(len(batch), count, *batch.size)
    if bool((order == torch.arange(count)).all()):
        return images
    return images[torch.arange(len(batch))[:, None], order]


def check_patches(size: tuple[int, int], patch: int, name: str) -> None:
    """Raise `ImageError` unless sides are multiples of the patch of the encoder called `name`."""
    if size[0] % patch or size[1] % patch:
        raise plugin.ImageError(
            f"images are {size[0]} × {size[1]} pixels, but {name} cuts patches of "
            f"{patch} × {patch}: crop or pad to multiples of {patch}, or let encode prepare "
            "them with preprocess=True"
        )


def features(
    embedding: Tensor,
    counts: Tensor,
    patches: Tensor | None,
    *,
    channels: Tensor | None = None,
    tokens: bool = False,
) -> plugin.Features:
    """Put together what an encoder returns; `patches` are `(sum of C_i, P, D)`."""
    if patches is None or not tokens:
        return plugin.Features(embedding, counts, channels)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)]) * patches.shape[1]
    return plugin.Features(embedding, counts, channels, patches.flatten(0, 1), offsets)


def filled(
    network: type[Network],
    spec: plugin.EncoderSpec,
    weights: Path | None,
    seed: int = 0,
    **layout: bool,
) -> Network:
    """Build a network from the options of a record, and fill it from `weights` or by `seed`.

    `layout` tells the variants of published files apart.

    Raises
    ------
    WeightsNotFoundError
        Without weights, unless the record is seeded: never an untrained network under a trained
        name.
    """
    if weights is None and not spec.seeded:
        raise plugin.WeightsNotFoundError(f"{spec.name} was to be built without its weights")
    with torch.device("meta"):
        model = network(**spec.options, **layout)
    if weights is None:
        model.to_empty(device="cpu")
        draw_parameters(model, seed)
    else:
        plugin.load_state(model, weights)
    return model


def tensor_names(weights: Path | None) -> frozenset[str]:
    """Return the names of the tensors of a file; none where it is broken, which loading tells."""
    if weights is None:
        return frozenset()
    try:
        with safe_open(weights, "pt") as file:
            return frozenset(file.keys())
    except (OSError, SafetensorError):
        return frozenset()
