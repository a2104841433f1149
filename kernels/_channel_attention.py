"""Attention between the channels of an image, without the matrix over its patches."""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from ._ragged_attention import QUERIES, checked_plan, ragged_attention, why_not
from ._ragged_plan import RaggedPlan

try:
    from ._channel_attention_triton import launch
except ModuleNotFoundError as missing:
    if missing.name != "triton":
        raise


@dataclass(frozen=True)
class ChannelAttention:
    """Where the attention of one layer goes, for each image of a packed batch.

    Parameters
    ----------
    mass
        For each image `(H, G, G)`, float32: the attention that the rows of one group (the CLS
        token, a channel) pay to all rows of another, averaged over the rows that pay it. Each row
        sums to 1.
    first
        Attention that the first row of each image (CLS) pays to every row of it, `(T, H)`, float32.
    """

    mass: tuple[Tensor, ...]
    first: Tensor


@torch.no_grad()
def channel_attention(
    qkv: Tensor,
    cu_seqlens: Tensor,
    cu_groups: Tensor,
    *,
    plan: RaggedPlan | None = None,
    scale: float | None = None,
    backend: str | None = None,
) -> ChannelAttention:
    """Sum softmax attention by (query group, key group) in every image.

    The attention is that of `ragged_attention`; no (n, n) matrix of an image is ever formed. There
    are no gradients.

    Parameters
    ----------
    qkv
        Queries, keys and values, packed: `(T, 3, H, d)`, floating. Values are not read.
    cu_seqlens
        Row where each image starts, and T: `(B + 1,)` int32.
    cu_groups
        Row where each group starts, and T: `(sum of G_i + 1,)` int32. Groups are adjacent rows, as
        the CLS token and then the patches of each channel; none is empty and none spans two images.
    plan
        The layout made from `cu_seqlens` beforehand.
    scale
        Factor on the scores; 1/sqrt(d) by default.
    backend
        ``"triton"`` or ``"reference"``; None takes ``"triton"`` where it can.

    Raises
    ------
    ValueError, TypeError
        As `ragged_attention` does, and when the groups do not divide the images.

    Examples
    --------
    >>> import torch
    >>> from zoo.kernels import channel_attention
    >>> qkv = torch.randn(9, 3, 2, 16)  # one image: CLS and two channels of four patches
    >>> cu_seqlens = torch.tensor([0, 9], dtype=torch.int32)
    >>> cu_groups = torch.tensor([0, 1, 5, 9], dtype=torch.int32)
    >>> found = channel_attention(qkv, cu_seqlens, cu_groups)
    >>> found.mass[0].shape, found.first.shape
    (torch.Size([2, 3, 3]), torch.Size([9, 2]))
    """
    plan = checked_plan(qkv, cu_seqlens, plan)
    groups = _groups(cu_groups, plan)
    if scale is None:
        scale = qkv.shape[-1] ** -0.5
    if backend is None:
        backend = "triton" if why_not(qkv) is None else "reference"
    if backend == "triton":
        return _from_kernels(qkv, cu_seqlens, plan, groups, scale)
    if backend == "reference":
        return _reference(qkv, groups, scale)
    raise ValueError(f"backend is {backend!r}, but must be one of triton, reference")


def _groups(cu_groups: Tensor, plan: RaggedPlan) -> list[list[tuple[int, int]]]:
    """Return first row and rows of each group of each image."""
    if cu_groups.ndim != 1 or cu_groups.dtype != torch.int32:
        raise TypeError(
            f"cu_groups is {cu_groups.dtype} of shape {tuple(cu_groups.shape)}, but must be "
            "torch.int32 of shape (groups + 1,)"
        )
    bounds = cu_groups.tolist()
    if not bounds or bounds[0] != 0 or bounds[-1] != plan.total:
        raise ValueError(f"cu_groups must rise from 0 to the number of rows, {plan.total}")
    if any(b <= a for a, b in pairwise(bounds)):
        raise ValueError("cu_groups must rise at every step: a group has at least one row")
    ends = list(accumulate(plan.lengths))
    if not set(ends) <= set(bounds):
        i = next(i for i, end in enumerate(ends) if end not in set(bounds))
        raise ValueError(f"a group of cu_groups spans the images {i} and {i + 1}")
    groups: list[list[tuple[int, int]]] = [[] for _ in plan.lengths]
    image = 0
    for a, b in pairwise(bounds):
        while a >= ends[image]:
            image += 1
        groups[image].append((a, b - a))
    return groups


def _from_kernels(
    qkv: Tensor,
    cu_seqlens: Tensor,
    plan: RaggedPlan,
    groups: list[list[tuple[int, int]]],
    scale: float,
) -> ChannelAttention:
    _, lse = ragged_attention(
        qkv, cu_seqlens, plan=plan, scale=scale, return_lse=True, backend="triton"
    )
    pairs = [(*query, *key) for image in groups for query in image for key in image]
    heads = qkv.shape[2]
    mass = torch.empty((len(pairs), heads), dtype=torch.float32, device=qkv.device)
    if pairs:
        work = torch.tensor(pairs, dtype=torch.int32, device=qkv.device)
        launch(qkv, lse, work, mass, scale)
    split = mass.split([len(image) ** 2 for image in groups])
    squares = [
        part.view(len(image), len(image), heads).permute(2, 0, 1)
        for part, image in zip(split, groups, strict=True)
    ]

    # The row of the first token alone is small: nothing but its scores with all keys.
    sizes = torch.tensor(plan.lengths, device=qkv.device)
    image_of_row = torch.repeat_interleave(sizes, output_size=plan.total)
    first_rows = plan.cu_seqlens[:-1].long()[image_of_row]
    scores = torch.einsum("thd,thd->th", qkv[first_rows, 0].float(), qkv[:, 1].float()) * scale
    return ChannelAttention(tuple(squares), torch.exp(scores - lse[first_rows]))


def _reference(qkv: Tensor, groups: list[list[tuple[int, int]]], scale: float) -> ChannelAttention:
    """Softmax of a few rows of scores at a time, image by image."""
    wide = torch.promote_types(qkv.dtype, torch.float32)
    first = qkv.new_empty((qkv.shape[0], qkv.shape[2]), dtype=wide)
    squares = []
    for image in groups:
        if not image:
            squares.append(first.new_zeros((qkv.shape[2], 0, 0)))
            continue
        start, stop = image[0][0], sum(image[-1])
        keys = qkv[start:stop, 1].to(wide).permute(1, 2, 0)  # (H, d, n)
        member = torch.tensor([size for _, size in image], device=qkv.device)
        member = torch.repeat_interleave(member)  # (n,)
        rows = []
        for a, size in image:
            paid = keys.new_zeros((keys.shape[0], keys.shape[2]))  # (H, n)
            for row in range(a, a + size, QUERIES):
                queries = qkv[row : min(row + QUERIES, a + size), 0].to(wide)
                weights = torch.softmax(scale * queries.transpose(0, 1) @ keys, dim=-1)
                paid += weights.sum(1)  # weights are (H, queries, n)
                if row == start:
                    first[start:stop] = weights[:, 0].T
            received = paid.new_zeros((paid.shape[0], len(image)))
            rows.append(received.index_add_(1, member, paid / size))
        squares.append(torch.stack(rows, dim=1))
    return ChannelAttention(tuple(squares), first)
