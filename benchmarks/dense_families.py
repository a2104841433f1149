"""OpenPhenom and ChannelViT on dense batches: padded to the longest image, or of equal counts.

Written from the descriptions of Kraus et al. (CVPR 2024) and Bao et al. (ICLR 2024), with the
tensor names of their checkpoints, on PyTorch's own operators: rivals of the packed networks.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


class Dense(ABC):
    """A network on images `(B, C, H, W)`, of which the i-th may have `counts[i]` channels only."""

    def __init__(self, state: State, *, depth: int, heads: int, patch: int, side: int) -> None:
        self.state, self.depth, self.heads, self.patch = state, depth, heads, patch
        self.patches = (side // patch) ** 2

    def __call__(self, images: Tensor, counts: list[int]) -> Tensor:
        """Return embeddings `(B, D)`."""
        kept = torch.tensor([1 + self.patches * count for count in counts], device=images.device)
        x = self.tokens(images, counts)
        inside = torch.arange(x.shape[1], device=x.device) < kept[:, None]  # (B, n)
        mask = None if min(counts) == images.shape[1] else inside[:, None, None]
        for i in range(self.depth):
            x = self.layer(x, i, mask)
        return self.pool(x, inside)

    @abstractmethod
    def tokens(self, images: Tensor, counts: list[int]) -> Tensor:
        """Return tokens `(B, 1 + C · P, D)`."""

    @abstractmethod
    def layer(self, x: Tensor, i: int, mask: Tensor | None) -> Tensor:
        """Map tokens to tokens."""

    @abstractmethod
    def pool(self, x: Tensor, inside: Tensor) -> Tensor:
        """Return embeddings `(B, D)`."""

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, self.state[f"{name}.bias"], 1e-6)

    def split(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values, each `(B, H, n, d)`."""
        return qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()

    def project(self, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return patches `(B, C, P, D)` of single planes."""
        planes = images.flatten(0, 1)[:, None]
        patches = F.conv2d(planes, weight, bias, stride=self.patch)
        return patches.flatten(2).mT.unflatten(0, images.shape[:2])


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return `(B, n, D)`."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class DenseOpenPhenom(Dense):
    """Attention and MLP of a layer side by side; the embedding is the mean of the patches."""

    def tokens(self, images: Tensor, counts: list[int]) -> Tensor:
        state = {k.removeprefix("vit_backbone."): t for k, t in self.state.items()}
        position = state["pos_embed"][0]
        x = self.project(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"])
        x = (x + position[1 : 1 + self.patches]).flatten(1, 2)
        cls = (state["cls_token"][0] + position[:1]).expand(len(x), -1, -1)
        return torch.cat([cls, x], 1)

    def layer(self, x: Tensor, i: int, mask: Tensor | None) -> Tensor:
        at = f"vit_backbone.blocks.{i}"
        both = self.linear(self.norm(x, f"{at}.in_norm"), f"{at}.in_proj")
        bias = self.state[f"{at}.mlp_bias"]
        inner, qkv = both.split([len(bias), 3 * x.shape[2]], dim=2)
        q, k, v = self.split(qkv)
        q, k = self.norm(q, f"{at}.q_norm"), self.norm(k, f"{at}.k_norm")
        branches = self.linear(attend(q, k, v, mask), f"{at}.attn_out_proj")
        branches = branches + self.linear(F.gelu(inner + bias), f"{at}.mlp_out_proj")
        return x + self.state[f"{at}.ls.gamma"] * branches

    def pool(self, x: Tensor, inside: Tensor) -> Tensor:
        x, inside = self.norm(x, "vit_backbone.norm")[:, 1:], inside[:, 1:, None]
        return torch.where(inside, x, 0).sum(1) / inside.sum(1)


class DenseChannelViT(Dense):
    """Channels are numbered from 0; the embedding is the CLS token.

    Images of one channel take the positions as they are, others resampled, as in the authors' code.
    """

    def tokens(self, images: Tensor, counts: list[int]) -> Tensor:
        state = self.state
        weight = state["patch_embed.proj.weight"][:, :, 0]
        x = self.project(images, weight, state["patch_embed.proj.bias"])
        channel = state["patch_embed.channel_embed"][0, :, : images.shape[1], 0, 0].T
        stored = state["pos_embed"][0]
        grid = round(self.patches**0.5)
        square = stored[1:].T.view(1, -1, grid, grid)
        factor = (grid + 0.1) / grid
        moved = F.interpolate(square, scale_factor=(factor, factor), mode="bicubic")
        alone = torch.tensor([count == 1 for count in counts], device=x.device)
        position = torch.where(alone[:, None, None, None], stored[1:], moved.flatten(2)[0].T)
        x = (x + channel[:, None] + position).flatten(1, 2)
        cls = (state["cls_token"][0] + stored[:1]).expand(len(x), -1, -1)
        return torch.cat([cls, x], 1)

    def layer(self, x: Tensor, i: int, mask: Tensor | None) -> Tensor:
        at = f"blocks.{i}"
        qkv = self.linear(self.norm(x, f"{at}.norm1"), f"{at}.attn.qkv")
        x = x + self.linear(attend(*self.split(qkv), mask), f"{at}.attn.proj")
        inner = F.gelu(self.linear(self.norm(x, f"{at}.norm2"), f"{at}.mlp.fc1"))
        return x + self.linear(inner, f"{at}.mlp.fc2")

    def pool(self, x: Tensor, inside: Tensor) -> Tensor:
        return self.norm(x[:, 0], "norm")


def padded(network: Dense, planes: Tensor, counts: list[int]) -> Tensor:
    """Embed all images at once, each with black planes up to the most channels, and a mask."""
    images = planes.new_zeros((len(counts), max(counts), *planes.shape[1:]))
    for image, own in zip(images, planes.split(counts), strict=True):
        image[: len(own)] = own
    return network(images, counts)


def by_count(network: Dense, planes: Tensor, counts: list[int]) -> Tensor:
    """Embed images of the same number of channels at once, one number after the other."""
    split = planes.split(counts)
    found: dict[int, Tensor] = {}
    for count in sorted(set(counts)):
        members = [i for i, c in enumerate(counts) if c == count]
        rows = network(torch.stack([split[i] for i in members]), [count] * len(members))
        found |= dict(zip(members, rows, strict=True))
    return torch.stack([found[i] for i in range(len(counts))])
