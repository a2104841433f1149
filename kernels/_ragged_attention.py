"""Attention within each image of a packed batch."""

import math
from itertools import pairwise
from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from ._autocast import no_autocast
from ._operators import call_directly
from ._ragged_plan import Bucket, RaggedPlan
from ._recording import refuse_recording

try:
    from ._ragged_attention_op import attend
    from ._ragged_attention_op import why_not as why_not
except ModuleNotFoundError as missing:
    if missing.name != "triton":
        raise

    def why_not(qkv: Tensor) -> str | None:
        """Return why the Triton kernels do not support a tensor."""
        return "Triton is not installed"


BACKENDS = ("triton", "sdpa", "reference")
"""What `ragged_attention` accepts as ``backend``."""
QUERIES = 256
"""Rows whose scores are in memory at once when a log-sum-exp is computed without a kernel."""


@overload
def ragged_attention(
    qkv: Tensor,
    cu_seqlens: Tensor,
    *,
    plan: RaggedPlan | None = ...,
    first_only: bool = ...,
    return_lse: Literal[False] = ...,
    scale: float | None = ...,
    tf32: bool = ...,
    dtype: torch.dtype | None = ...,
    backend: str | None = ...,
) -> Tensor: ...


@overload
def ragged_attention(
    qkv: Tensor,
    cu_seqlens: Tensor,
    *,
    plan: RaggedPlan | None = ...,
    first_only: bool = ...,
    return_lse: Literal[True],
    scale: float | None = ...,
    tf32: bool = ...,
    dtype: torch.dtype | None = ...,
    backend: str | None = ...,
) -> tuple[Tensor, Tensor]: ...


def ragged_attention(
    qkv: Tensor,
    cu_seqlens: Tensor,
    *,
    plan: RaggedPlan | None = None,
    first_only: bool = False,
    return_lse: bool = False,
    scale: float | None = None,
    tf32: bool = False,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Softmax attention of every row to the rows of its own sequence.

    First derivatives are supported, also of the log-sum-exp. Under autocast float32 is lowered, as
    in PyTorch's own attention.

    Parameters
    ----------
    qkv
        Queries, keys and values, packed: `(T, 3, H, d)`, floating. Any strides; copied only if the
        last one is not 1.
    cu_seqlens
        Row where each sequence starts, and T: `(B + 1,)` int32. Empty sequences are allowed.
    plan
        The layout of `cu_seqlens`, computed once for all layers, which avoids synchronising with a
        GPU; not checked against `cu_seqlens`. Required inside `torch.compile` and CUDA graphs.
    first_only
        Compute only the first row of each sequence, for a last layer of which only the CLS
        embedding is used.
    return_lse
        Also return the log-sum-exp of each row's scores.
    scale
        Factor on the scores; 1/sqrt(d) by default.
    tf32
        Let ``"triton"`` round float32 to TF32 for the tensor cores: about three digits, several
        times faster. The other backends follow PyTorch's own switches.
    dtype
        Dtype of the result; by default that of `qkv`. A wider one keeps the precision of the
        float32 sums.
    backend
        ``"triton"``: the fused kernels, for NVIDIA GPUs from compute capability 8.0, bfloat16,
        float16 and float32, heads of size 16, 32, 64 and 96. Outputs and gradients are bitwise
        reproducible, and those of an image do not depend on the rest of the batch.
        ``"sdpa"``: PyTorch's scaled-dot-product attention on buckets of equal length, no padding.
        ``"reference"``: one sequence after the other, simple and slow.
        None for ``"triton"`` if possible, else ``"sdpa"``.

    Returns
    -------
    Tensor or tuple of Tensor
        `(T, H, d)`, in `dtype`; with `first_only` `(B, H, d)`, zeros for an empty
        sequence. With `return_lse` also `(T, H)` or `(B, H)`, float32 or wider, natural logarithm,
        -inf for an empty sequence.

    Raises
    ------
    ValueError, TypeError
        For wrong shapes, `cu_seqlens` or backend names, or if ``"triton"`` is requested and not
        available; the message says why.

    Examples
    --------
    >>> import torch
    >>> from zoo.kernels import RaggedPlan, ragged_attention
    >>> plan = RaggedPlan.from_lengths([3, 5])  # two sequences
    >>> qkv = torch.randn(plan.total, 3, 2, 16)  # queries, keys and values of two heads
    >>> ragged_attention(qkv, plan.cu_seqlens, plan=plan).shape
    torch.Size([8, 2, 16])
    """
    plan = checked_plan(qkv, cu_seqlens, plan)
    if scale is None:
        scale = int(qkv.shape[-1]) ** -0.5  # a plain number, also where shapes are traced
    kind = qkv.device.type
    if torch.is_autocast_enabled(kind) and qkv.dtype == torch.float32:
        qkv = qkv.to(torch.get_autocast_dtype(kind))
    with no_autocast(kind):
        result = _attend(qkv, plan, scale, first_only, return_lse, tf32, dtype, backend)
    return result if return_lse else result[0]


def checked_plan(qkv: Tensor, cu_seqlens: Tensor, plan: RaggedPlan | None) -> RaggedPlan:
    """Return the layout of a batch; raises `ValueError` or `TypeError` for invalid arguments."""
    if qkv.ndim != 4 or qkv.shape[1] != 3:
        raise ValueError(f"qkv has the shape {tuple(qkv.shape)}, but must be (T, 3, H, d)")
    if not qkv.is_floating_point():
        raise TypeError(f"qkv is {qkv.dtype}, but must be floating")
    if cu_seqlens.device != qkv.device:
        raise ValueError(f"cu_seqlens is on {cu_seqlens.device}, qkv on {qkv.device}")
    if plan is None:
        return RaggedPlan.from_cu_seqlens(cu_seqlens, qkv.shape[0])
    if not torch.compiler.is_compiling() and plan.total != qkv.shape[0]:
        raise ValueError(f"the plan is for {plan.total} rows, but qkv has {qkv.shape[0]}")
    return plan


def _attend(
    qkv: Tensor,
    plan: RaggedPlan,
    scale: float,
    first_only: bool,
    return_lse: bool,
    tf32: bool,
    dtype: torch.dtype | None,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    """Choose the backend."""
    dtype = dtype or qkv.dtype
    refused = why_not(qkv)
    if backend is None:
        backend = "triton" if refused is None else "sdpa"
    if backend == "triton":
        if refused is not None:
            raise ValueError(f"backend 'triton' cannot be taken: {refused}")
        out, lse = _triton(qkv, plan, scale, first_only, tf32, dtype)
        return out, lse.t() * math.log(2) if return_lse else lse
    if backend == "sdpa":
        return _bucketed_sdpa(qkv, plan, scale, first_only, return_lse, dtype)
    if backend == "reference":
        return _reference(qkv, plan, scale, first_only, dtype)
    raise ValueError(f"backend is {backend!r}, but must be one of {', '.join(BACKENDS)}")


def _triton(
    qkv: Tensor, plan: RaggedPlan, scale: float, first_only: bool, tf32: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the output and, `(H, rows)`, the log-sum-exp to the base 2."""
    if qkv.stride(3) != 1:
        qkv = qkv.contiguous()
    tf32 = tf32 and qkv.dtype == torch.float32
    sequences = plan.cu_seqlens.shape[0] - 1
    found: tuple[Tensor, Tensor] = call_directly(
        attend, qkv, plan.tiles, plan.firsts, sequences, first_only, scale, tf32, dtype
    )
    return found


def _bucketed_sdpa(
    qkv: Tensor,
    plan: RaggedPlan,
    scale: float,
    first_only: bool,
    return_lse: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    refuse_recording("attention by backend 'sdpa'")
    total, _, heads, size = qkv.shape
    if dtype != qkv.dtype and qkv.device.type == "cpu":
        qkv = qkv.float()  # no slower there, and the digits asked for are not cut off before
    wide = torch.promote_types(qkv.dtype, torch.float32)
    outputs: list[tuple[Bucket, Tensor, Tensor]] = []
    for bucket in plan.buckets:
        stop = bucket.start + bucket.size * bucket.length
        rows = qkv[bucket.start : stop] if bucket.rows is None else qkv[bucket.rows]
        dense = rows.view(bucket.size, bucket.length, 3, heads, size)
        q, k, v = dense.permute(2, 0, 3, 1, 4)  # each (b, H, n, d)
        if first_only:
            q = q[:, :, :1]
        mixed = F.scaled_dot_product_attention(q, k, v, scale=scale)
        lse = q.new_empty(0, dtype=wide)
        if return_lse:
            lse = _log_sum_exp(q, k, scale).transpose(1, 2).reshape(-1, heads)
        mixed = mixed.transpose(1, 2).reshape(-1, heads, size).to(dtype)
        outputs.append((bucket, mixed, lse))
    if len(outputs) == 1 and not first_only:
        bucket, mixed, lse = outputs[0]
        if bucket.rows is None and mixed.shape[0] == total:
            return mixed, lse
    rows_out = len(plan.cu_seqlens) - 1 if first_only else total
    # An empty sequence has no first row, but every row of a sequence gets its value below.
    out = (
        qkv.new_zeros((rows_out, heads, size), dtype=dtype)
        if first_only
        else qkv.new_empty((total, heads, size), dtype=dtype)
    )
    all_lse = qkv.new_full((rows_out if return_lse else 0, heads), -math.inf, dtype=wide)
    for bucket, mixed, lse in outputs:
        places: Tensor | slice
        if first_only:
            places = bucket.members
        elif bucket.rows is None:
            places = slice(bucket.start, bucket.start + mixed.shape[0])
        else:
            places = bucket.rows
        out[places] = mixed
        if return_lse:
            all_lse[places] = lse
    return out, all_lse


def _log_sum_exp(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Return `(b, H, n)` from `(b, H, n, d)`, without all scores in memory at once."""
    wide = torch.promote_types(q.dtype, torch.float32)
    keys = scale * k.to(wide).transpose(2, 3)
    parts = [torch.logsumexp(part.to(wide) @ keys, dim=-1) for part in q.split(QUERIES, dim=2)]
    return torch.cat(parts, dim=2)


def _reference(
    qkv: Tensor, plan: RaggedPlan, scale: float, first_only: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Softmax of the scores, one sequence after the other, in at least float32."""
    refuse_recording("attention by backend 'reference'")
    wide = qkv.to(torch.promote_types(qkv.dtype, torch.float32))
    out = torch.empty_like(wide[:, 0])
    lse = out.new_empty(out.shape[:2])
    starts = plan.cu_seqlens.tolist()
    for a, b in pairwise(starts):
        q, k, v = wide[a:b].permute(1, 2, 0, 3)  # each (H, n, d)
        scores = scale * q @ k.transpose(1, 2)  # (H, n, n)
        out[a:b] = (torch.softmax(scores, dim=-1) @ v).transpose(0, 1)
        lse[a:b] = torch.logsumexp(scores, dim=-1).T
    if first_only:
        lengths = plan.cu_seqlens.diff()
        rows = plan.cu_seqlens[:-1][lengths > 0].long()
        every_out, every_lse = out, lse
        out = out.new_zeros((len(lengths), *out.shape[1:]))
        lse = lse.new_full((len(lengths), lse.shape[1]), -math.inf)
        out[lengths > 0], lse[lengths > 0] = every_out[rows], every_lse[rows]
    return out.to(dtype), lse
