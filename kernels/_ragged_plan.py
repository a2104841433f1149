"""How a ragged batch is laid out in memory and divided into work."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from ._recording import refuse_recording

TILE = 128
"""Rows of a tile: what one program of a kernel owns."""


@dataclass(frozen=True)
class Bucket:
    """Sequences of one length: adjacent rows from `start`, or the rows listed in `rows`.

    `members` are the sequences' places in the batch.
    """

    length: int
    size: int
    start: int
    rows: Tensor | None
    members: Tensor


@dataclass(eq=False)
class RaggedPlan:
    """How a batch is laid out; made once per batch and shared by all layers.

    Make one with `from_lengths` or `from_cu_seqlens`.

    Parameters
    ----------
    lengths
        Rows of each sequence, in the order of the batch.
    cu_seqlens
        Row where each sequence starts, and the end of the last: `(B + 1,)` int32.
    tiles
        The work list: one entry for each `TILE` rows of each sequence, longest sequences first.
        `(W, 4)` int32: sequence, first row of the tile in the sequence, first row of the sequence,
        rows of the sequence. Entries of zero rows are skipped.
    firsts
        The entries of `tiles` that begin a sequence, `(B', 4)`.

    Examples
    --------
    >>> from zoo.kernels import RaggedPlan
    >>> plan = RaggedPlan.from_lengths([3, 5])
    >>> plan.total, plan.cu_seqlens.tolist()
    (8, [0, 3, 8])
    """

    lengths: tuple[int, ...]
    cu_seqlens: Tensor
    tiles: Tensor
    firsts: Tensor

    @classmethod
    def from_lengths(
        cls,
        lengths: Sequence[int],
        device: torch.device | str = "cpu",
        *,
        rows: int | None = None,
        images: int | None = None,
    ) -> "RaggedPlan":
        """Make the plan of sequences with these lengths, in this order.

        Parameters
        ----------
        lengths
            Rows of each sequence; 0 is allowed.
        device
            Device of the sequences.
        rows, images
            Capacity for rows and sequences, both or neither: tensors of all plans with the same
            capacity have the same shapes, as CUDA graphs need. Unused rows form further sequences
            of at most `TILE` rows, which cost little and do not affect any image.

        Raises
        ------
        ValueError
            A negative length, 2**31 rows or more, or too little room.

        Examples
        --------
        >>> from zoo.kernels import RaggedPlan
        >>> RaggedPlan.from_lengths([197, 589]).tiles.shape  # 2 + 5 tiles of 128 rows
        torch.Size([7, 4])
        """
        lengths = tuple(map(int, lengths))
        if min(lengths, default=0) < 0:
            raise ValueError(f"a sequence has the length {min(lengths)}, but none can be negative")
        total = max(sum(lengths), rows or 0)
        if total >= 2**31:
            raise ValueError(f"the sequences have {total} rows, but 2**31 - 1 is the most")
        entries = starts = None
        if rows is not None or images is not None:
            lengths, entries, starts = _room(lengths, rows, images)
        return cls(lengths, *_tables(lengths, torch.device(device), entries, starts))

    @classmethod
    def from_cu_seqlens(cls, cu_seqlens: Tensor, total: int) -> "RaggedPlan":
        """Make the plan of cumulative lengths; raises `ValueError` unless they rise to `total`.

        Reads `cu_seqlens`, which synchronises with a GPU.

        Examples
        --------
        >>> import torch
        >>> from zoo.kernels import RaggedPlan
        >>> cu_seqlens = torch.tensor([0, 3, 8], dtype=torch.int32)
        >>> RaggedPlan.from_cu_seqlens(cu_seqlens, 8).lengths
        (3, 5)
        """
        if cu_seqlens.ndim != 1 or cu_seqlens.numel() < 1:
            raise ValueError(f"cu_seqlens has the shape {tuple(cu_seqlens.shape)}, not (B + 1,)")
        if cu_seqlens.dtype != torch.int32:
            raise TypeError(f"cu_seqlens is {cu_seqlens.dtype}, but must be torch.int32")
        starts = cu_seqlens.tolist()
        lengths = [b - a for a, b in pairwise(starts)]
        if starts[0] != 0 or starts[-1] != total or any(n < 0 for n in lengths):
            raise ValueError(
                f"cu_seqlens must rise from 0 to the number of rows, {total}; "
                f"it begins with {starts[0]}, ends with {starts[-1]}"
                + (" and decreases in between" if any(n < 0 for n in lengths) else "")
            )
        return cls.from_lengths(lengths, cu_seqlens.device)

    @cached_property
    def total(self) -> int:
        """Rows of all sequences."""
        return sum(self.lengths)

    @cached_property
    def buckets(self) -> tuple[Bucket, ...]:
        """The non-empty sequences, grouped by length."""
        device = self.cu_seqlens.device
        starts = [0, *accumulate(self.lengths)]
        by_length: dict[int, list[int]] = {}
        for i, length in enumerate(self.lengths):
            if length:
                by_length.setdefault(length, []).append(i)
        buckets = []
        for length, members in by_length.items():
            first_rows = [starts[i] for i in members]
            rows = None
            if any(b - a != length for a, b in pairwise(first_rows)):
                offsets = torch.tensor(first_rows)[:, None] + torch.arange(length)
                rows = offsets.flatten().to(device)
            places = torch.tensor(members, device=device)
            buckets.append(Bucket(length, len(members), first_rows[0], rows, places))
        return tuple(buckets)

    def copy_(self, other: "RaggedPlan") -> "RaggedPlan":
        """Copy another plan of the same capacity, in place, as a captured CUDA graph needs."""
        mine, theirs = (
            (p.total, *(tuple(t.shape) for t in (p.cu_seqlens, p.tiles, p.firsts)))
            for p in (self, other)
        )
        if mine != theirs:
            raise ValueError(
                f"the plans differ in room: rows, cu_seqlens, tiles and firsts are {theirs}, not "
                f"{mine}; make both with the same rows= and images="
            )
        for name in ("cu_seqlens", "tiles", "firsts"):
            getattr(self, name).copy_(getattr(other, name), non_blocking=True)
        self.lengths = other.lengths
        for name in ("total", "buckets"):
            self.__dict__.pop(name, None)
        return self


def sent(table: Tensor, device: torch.device) -> Tensor:
    """Copy numbers to a device without synchronising."""
    if device.type != "cuda":
        return table.to(device)
    refuse_recording("making a plan or a layout")
    return table.pin_memory().to(device, non_blocking=True)


def _room(
    lengths: tuple[int, ...], rows: int | None, images: int | None
) -> tuple[tuple[int, ...], int, int]:
    """Fill up to `rows` rows and `images` sequences; return lengths, work entries, sequences."""
    if rows is None or images is None:
        raise ValueError("rows and images are given together or not at all")
    if sum(lengths) > rows or len(lengths) > images:
        raise ValueError(
            f"{len(lengths)} sequences with {sum(lengths)} rows do not fit into "
            f"images={images} and rows={rows}"
        )
    left = rows - sum(lengths)
    sequences = images + -(-rows // TILE)  # as many as could ever be needed
    filler = [TILE] * (left // TILE) + ([left % TILE] if left % TILE else [])
    padded = [*lengths, *[0] * (images - len(lengths)), *filler]
    padded += [0] * (sequences - len(padded))
    return tuple(padded), rows // TILE + images + 1, sequences


def _tables(
    lengths: tuple[int, ...], device: torch.device, entries: int | None, starts: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `cu_seqlens`, `tiles` and `firsts`, sent to the device as one."""
    starts_at = [0, *accumulate(lengths)]
    alike: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        alike.setdefault(length, []).append(i)
    # By arrays: for a thousand entries PyTorch's threads cost more than they save.
    tiles, firsts = array("i"), array("i")
    for length in sorted(alike, reverse=True):
        members = array("i", alike[length])
        begun = array("i", [starts_at[i] for i in members])
        tiles += _work(range(0, length, TILE), length, members, begun)
        firsts += _work(range(min(length, 1)), length, members, begun)
    tiles.frombytes(bytes(max(0, 16 * (entries or 0) - 4 * len(tiles))))
    firsts.frombytes(bytes(max(0, 16 * (starts or 0) - 4 * len(firsts))))
    table = torch.frombuffer(tiles + firsts + array("i", starts_at), dtype=torch.int32)
    parts = sent(table, device).split([len(tiles), len(firsts), len(starts_at)])
    return parts[2], parts[0].view(-1, 4), parts[1].view(-1, 4)


def _work(rows: range, length: int, members: "array[int]", starts: "array[int]") -> "array[int]":
    """Return work entries of sequences of one length: for each, one at every row of `rows`."""
    of_one = array("i", [number for row in rows for number in (0, row, 0, length)])
    found = of_one * len(members)
    for at in range(0, len(of_one), 4):
        found[at :: len(of_one)] = members
        found[at + 2 :: len(of_one)] = starts
    return found
