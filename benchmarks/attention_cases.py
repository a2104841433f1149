"""Which batches attention is timed on, by device."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from workloads import MIXES, channel_counts, tokens

# Heads by head size, as sensible networks have them: ChAda-ViT, ViT-Ti, ViT-S, a checkpoint's 192.
HEADS = {16: 12, 32: 6, 64: 6, 96: 2}
MIXED = tuple(name for name, shares in MIXES.items() if len(shares) > 1)


@dataclass(frozen=True)
class Case:
    """One batch, in one arithmetic, forward or backward."""

    workload: str
    images: int
    size: int
    dtype: torch.dtype
    device: str
    backward: bool = False

    def __str__(self) -> str:
        """Name the case without spaces, so that pytest's -k can pick it."""
        parts = (self.workload, f"x{self.images}", f"{self.heads}x{self.size}")
        return "-".join((*parts, self.arithmetic, self.direction)).replace(" ", "-")

    @property
    def heads(self) -> int:
        return HEADS[self.size]

    @property
    def arithmetic(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def direction(self) -> str:
        return "backward" if self.backward else "forward"

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each image."""
        return tokens(channel_counts(self.workload, self.images))

    @property
    def scores(self) -> int:
        """Pairs of tokens of one image, over all images and heads: the work that must be done."""
        return self.heads * sum(n * n for n in self.lengths)

    def inputs(self, seed: int) -> tuple[Tensor, Tensor]:
        """Draw packed qkv, `(T, 3, H, d)`, and the gradient of the output, `(T, H, d)`."""
        draw = torch.Generator(self.device).manual_seed(seed)
        rows = sum(self.lengths)
        shape = (rows, 4, self.heads, self.size)
        values = torch.randn(shape, generator=draw, device=self.device).to(self.dtype)
        # Copies, so that each has the strides it has in a network.
        return values[:, :3].contiguous(), values[:, 3].contiguous()


def cases(device: str) -> list[Case]:
    """Return what is timed on a kind of device, forward and then backward."""
    return _on_gpu() if device == "cuda" else _on_cpu()


def _on_gpu() -> list[Case]:
    constant = [name for name in MIXES if name not in MIXED]
    chada = [Case(name, n, 16, torch.bfloat16, "cuda") for name in constant for n in (1, 8, 64)]
    chada += [Case(name, n, 16, torch.bfloat16, "cuda") for name in MIXED for n in (8, 64)]
    others = [
        Case(name, 64, size, torch.bfloat16, "cuda")
        for size in HEADS
        if size != 16
        for name in ("3 channels", *MIXED)
    ]
    others.append(Case("long-tailed", 64, 16, torch.float16, "cuda"))
    others.append(Case("long-tailed", 8, 16, torch.float32, "cuda"))
    # Nobody trains on one image at a time, nor on so few that launches are all there is.
    trained = [c for c in chada if c.images == 64] + others
    return chada + others + [replace(c, backward=True) for c in trained]


def _on_cpu() -> list[Case]:
    batches = dict.fromkeys(MIXES, 4) | dict.fromkeys(MIXED, 8)
    chada = [Case(name, n, 16, torch.float32, "cpu") for name, n in batches.items()]
    others = [Case("long-tailed", 4, size, torch.float32, "cpu") for size in HEADS if size != 16]
    trained = [Case(name, 2, 16, torch.float32, "cpu") for name in ("3 channels", "10 channels")]
    trained.append(Case("long-tailed", 4, 16, torch.float32, "cpu"))
    return chada + others + [replace(c, backward=True) for c in trained]
