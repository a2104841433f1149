"""How attention between channels is read out on a GPU: one program for each pair of channels."""

import math
from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ._ragged_attention_op import INTERPRETED
from ._ragged_attention_triton import _rows


@triton.jit(do_not_specialize=["lse_stride"])
def channel_mass(
    qkv, lse, pairs, mass, scale, row_stride, part_stride, head_stride, heads, lse_stride,
    D: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """Average over a channel's queries the attention that falls on the keys of another channel.

    `scale` includes log2(e), and `lse` is the base-2 logarithm of the row sums, `(H, T)`.
    """
    h = tl.program_id(0) % heads
    pair = tl.program_id(0) // heads
    item = pairs + 4 * tl.cast(pair, tl.int64)
    first_query, queries = tl.load(item), tl.load(item + 1)
    first_key, keys = tl.load(item + 2), tl.load(item + 3)
    head = qkv + tl.cast(h, tl.int64) * head_stride
    q_base = head + tl.cast(first_query, tl.int64) * row_stride
    k_base = head + part_stride + tl.cast(first_key, tl.int64) * row_stride
    log_base = lse + tl.cast(h, tl.int64) * lse_stride + first_query

    sums = tl.zeros((STEP,), tl.float32)
    for i in tl.range(0, queries, STEP, num_stages=1):
        row = i + tl.arange(0, STEP)
        q = _rows(q_base, row, row_stride, queries, D, WIDTH, True, UPCAST)
        # A row that does not exist gets the probability 0.
        log = tl.load(log_base + row, mask=row < queries, other=float("inf"))
        for j in tl.range(0, keys, STEP, num_stages=1):
            column = j + tl.arange(0, STEP)
            k = _rows(k_base, column, row_stride, keys, D, WIDTH, True, UPCAST)
            zero = tl.zeros((STEP, STEP), tl.float32)
            score = tl.dot(q, k.T, zero, input_precision=PRECISION)
            score = tl.fma(score, scale, -log[:, None])
            sums += tl.sum(tl.where((column < keys)[None, :], tl.exp2(score), 0.0), 1)
    tl.store(mass + tl.cast(pair, tl.int64) * heads + h, tl.sum(sums, 0) / queries)


def constants(size: int, dtype: torch.dtype) -> tuple[dict[str, Any], int]:
    """Return the compile-time constants for a head size, and the number of warps."""
    half = dtype.itemsize == 2
    values = {
        "D": size,
        "WIDTH": triton.next_power_of_2(size),
        "STEP": 64 if half else 32 if size <= 32 else 16,
        "PRECISION": "ieee",
        "UPCAST": INTERPRETED and dtype == torch.bfloat16,
    }
    return values, 4


def launch(qkv: Tensor, lse: Tensor, pairs: Tensor, mass: Tensor, scale: float) -> None:
    """Fill `mass (P, H)` for the pairs `(P, 4)` of first query, queries, first key, keys.

    `lse (T, H)` is the natural logarithm that `ragged_attention` returns.
    """
    if qkv.stride(3) != 1:
        qkv = qkv.contiguous()
    base2 = (lse * math.log2(math.e)).t().contiguous()
    values, warps = constants(qkv.shape[3], qkv.dtype)
    kernel: Any = channel_mass
    options = {} if INTERPRETED else {"enable_fp_fusion": True}
    # Triton launches on the current GPU, which need not be that of the tensors.
    with nullcontext() if INTERPRETED else torch.cuda.device(qkv.device):
        kernel[(mass.numel(),)](
            qkv, base2, pairs, mass, scale * math.log2(math.e),
            qkv.stride(0), qkv.stride(1), qkv.stride(2), qkv.shape[2], qkv.shape[0],
            **values, num_warps=warps, **options,
        )  # fmt: skip
