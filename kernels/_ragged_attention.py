"""Attention inside each image of a packed batch, and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

BACKENDS = ("sdpa", "reference")


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


@dataclass(frozen=True)
class RaggedPlan:
    """How a batch is laid out; made once per batch and shared by all layers.

    Parameters
    ----------
    cu_seqlens
        Row where each sequence starts, and the end of the last: `(B + 1,)` int32.
    buckets
        The non-empty sequences, grouped by length.
    """

    cu_seqlens: Tensor
    buckets: tuple[Bucket, ...]

    @classmethod
    def from_lengths(
        cls, lengths: Sequence[int], device: torch.device | str = "cpu"
    ) -> "RaggedPlan":
        """Plan sequences of these lengths, in this order."""
        starts = [0]
        for length in lengths:
            if length < 0:
                raise ValueError(f"a sequence has the length {length}, but none can be negative")
            starts.append(starts[-1] + length)
        by_length: dict[int, list[int]] = {}
        for i, length in enumerate(lengths):
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
        cu_seqlens = torch.tensor(starts, dtype=torch.int32, device=device)
        return cls(cu_seqlens, tuple(buckets))

    @classmethod
    def from_cu_seqlens(cls, cu_seqlens: Tensor, total: int) -> "RaggedPlan":
        """Plan from cumulative lengths; raises `ValueError` unless they rise from 0 to `total`."""
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


def ragged_attention(
    qkv: Tensor,
    cu_seqlens: Tensor,
    *,
    plan: RaggedPlan | None = None,
    first_only: bool = False,
    scale: float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Softmax attention of every row with the rows of its own sequence.

    Parameters
    ----------
    qkv
        Queries, keys and values, packed: `(T, 3, H, d)`, floating.
    cu_seqlens
        Row where each sequence starts, and T: `(B + 1,)` int32. Empty sequences are allowed.
    plan
        The layout made from `cu_seqlens` beforehand, so that layers share it; trusted as it is.
    first_only
        Compute the first row of each sequence and nothing else, as a last layer needs it when only
        the CLS embedding is read.
    scale
        Factor on the scores; 1/sqrt(d) by default.
    backend
        ``"sdpa"``: PyTorch's scaled-dot-product attention on buckets of equal length, no padding.
        ``"reference"``: one sequence after the other, plain and slow. None chooses.

    Returns
    -------
    Tensor
        `(T, H, d)`, in the dtype of `qkv`; with `first_only` `(B, H, d)`, zeros for an empty
        sequence.

    Raises
    ------
    ValueError, TypeError
        When shapes, `cu_seqlens` or the backend's name are off.
    """
    if qkv.ndim != 4 or qkv.shape[1] != 3:
        raise ValueError(f"qkv has the shape {tuple(qkv.shape)}, but must be (T, 3, H, d)")
    if not qkv.is_floating_point():
        raise TypeError(f"qkv is {qkv.dtype}, but must be floating")
    if cu_seqlens.device != qkv.device:
        raise ValueError(f"cu_seqlens is on {cu_seqlens.device}, qkv on {qkv.device}")
    if plan is None:
        plan = RaggedPlan.from_cu_seqlens(cu_seqlens, qkv.shape[0])
    if scale is None:
        scale = qkv.shape[-1] ** -0.5
    if backend is None:
        backend = "sdpa"
    if backend == "sdpa":
        return _bucketed_sdpa(qkv, plan, scale, first_only)
    if backend == "reference":
        return _reference(qkv, plan, scale, first_only)
    raise ValueError(f"backend is {backend!r}, but must be one of {', '.join(BACKENDS)}")


def _bucketed_sdpa(qkv: Tensor, plan: RaggedPlan, scale: float, first_only: bool) -> Tensor:
    total, _, heads, size = qkv.shape
    outputs: list[tuple[Bucket, Tensor]] = []
    for bucket in plan.buckets:
        stop = bucket.start + bucket.size * bucket.length
        rows = qkv[bucket.start : stop] if bucket.rows is None else qkv[bucket.rows]
        dense = rows.view(bucket.size, bucket.length, 3, heads, size)
        q, k, v = dense.permute(2, 0, 3, 1, 4)  # each (b, H, n, d)
        if first_only:
            q = q[:, :, :1]
        mixed = F.scaled_dot_product_attention(q, k, v, scale=scale)
        outputs.append((bucket, mixed.transpose(1, 2).reshape(-1, heads, size)))
    if first_only:
        first = qkv.new_zeros((len(plan.cu_seqlens) - 1, heads, size))
        for bucket, mixed in outputs:
            first[bucket.members] = mixed
        return first
    if len(outputs) == 1:
        bucket, mixed = outputs[0]
        if bucket.rows is None and mixed.shape[0] == total:
            return mixed
    out = qkv.new_empty((total, heads, size))
    for bucket, mixed in outputs:
        if bucket.rows is None:
            out[bucket.start : bucket.start + mixed.shape[0]] = mixed
        else:
            out[bucket.rows] = mixed
    return out


def _reference(qkv: Tensor, plan: RaggedPlan, scale: float, first_only: bool) -> Tensor:
    """Softmax of the scores, one sequence after the other, in at least float32."""
    out = torch.empty_like(qkv[:, 0])
    starts = plan.cu_seqlens.tolist()
    wide = qkv.to(torch.promote_types(qkv.dtype, torch.float32))
    for a, b in pairwise(starts):
        q, k, v = wide[a:b].permute(1, 2, 0, 3)  # each (H, n, d)
        weights = torch.softmax(scale * q @ k.transpose(1, 2), dim=-1)  # (H, n, n)
        out[a:b] = (weights @ v).transpose(0, 1).to(out.dtype)
    if not first_only:
        return out
    lengths = plan.cu_seqlens.diff()
    first = out.new_zeros((len(lengths), *out.shape[1:]))
    first[lengths > 0] = out[plan.cu_seqlens[:-1][lengths > 0].long()]
    return first
