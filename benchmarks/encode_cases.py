"""Which batches the whole encoder is timed on, by device, and what each must cost."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from workloads import MIXES, PATCHES, SIDE, channel_counts, tokens

import zoo

# ChAda-ViT as it is published.
DEPTH, DIM, HEADS, HIDDEN, PATCH = 12, 192, 12, 2048, 16
BATCHES = {"cuda": (1, 32, 256), "cpu": (1, 16)}
DTYPES = {"cuda": (torch.bfloat16, torch.float32), "cpu": (torch.float32,)}
FLOAT32_BATCHES = (32,)
"""Batches that a GPU encodes in float32 too."""


@dataclass(frozen=True)
class Case:
    """One batch, in one arithmetic."""

    workload: str
    images: int
    dtype: torch.dtype
    device: str

    def __str__(self) -> str:
        """Name the case without spaces, so that pytest's -k can pick it."""
        return f"{self.workload}-x{self.images}-{self.arithmetic}".replace(" ", "-")

    @property
    def arithmetic(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Channels of each image."""
        return channel_counts(self.workload, self.images)

    def batch(self, seed: int) -> zoo.ImageBatch:
        """Draw the planes, on the device and in the type that they are encoded in."""
        draw = torch.Generator().manual_seed(seed)
        planes = torch.rand(sum(self.counts), SIDE, SIDE, generator=draw)
        return zoo.ImageBatch(planes.to(self.device, self.dtype), torch.tensor(self.counts))

    @property
    def operations(self) -> float:
        """Floating-point operations of the matrix products that CLS embeddings need.

        Of the last layer these are keys and values of all tokens, and one query, one projection
        and one MLP row of each image.
        """
        lengths = tokens(self.counts)
        rest = DIM + 2 * HIDDEN  # columns of the output projection and of the MLP, times D
        linear = (DEPTH - 1) * (3 * DIM + rest) * sum(lengths)
        linear += 2 * DIM * sum(lengths) + (DIM + rest) * len(lengths)
        patches = PATCH**2 * PATCHES * sum(self.counts)
        return 2.0 * DIM * (linear + patches) + 4 * DIM / HEADS * self.exponentials

    @property
    def exponentials(self) -> int:
        """Exponentials of a pass: one a head for each pair of tokens, in the last layer of CLS."""
        lengths = tokens(self.counts)
        return HEADS * ((DEPTH - 1) * sum(n * n for n in lengths) + sum(lengths))

    @property
    def bytes(self) -> int:
        """Bytes that must go through memory if each layer is two kernels and an attention.

        The planes; and for each token and layer the residual stream in float32, read twice and
        written once, queries, keys and values, written and read, and the attention's output,
        written and read.
        """
        item = self.dtype.itemsize
        planes = sum(self.counts) * SIDE * SIDE * item
        layer = DIM * (3 * 4 + 2 * 3 * item + 2 * item)
        return planes + DEPTH * layer * sum(tokens(self.counts))


def cases(device: str) -> list[Case]:
    """Return the cases of a device; in float32 a GPU is given one batch of each mix."""
    return [
        Case(mix, images, dtype, device)
        for dtype in DTYPES[device]
        for images in BATCHES[device]
        for mix in MIXES
        if device == "cpu" or dtype == torch.bfloat16 or images in FLOAT32_BATCHES
    ]


def planes_of(batch: zoo.ImageBatch) -> tuple[Tensor, list[int]]:
    """Return what implementations take that know nothing of the zoo."""
    return batch.planes, batch.counts.tolist()
