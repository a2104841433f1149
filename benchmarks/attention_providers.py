"""Ways to attend within the images of a batch: ours and its rivals.

Everybody starts from the output of one projection to qkv, in the layout that suits him best, and
ends with what the next projection reads: rows with the heads side by side. What all layers of a
network share (plan, mask, padding) is made beforehand.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from attention_cases import Case
from attention_padding import Padding
from device_clock import Call, host_seconds
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from workloads import tokens
from zoo.kernels import RaggedPlan, ragged_attention


class UnavailableError(Exception):
    """Why a provider does not take a batch."""


@dataclass
class Attention:
    """One way to attend, made ready for one batch.

    Parameters
    ----------
    forward
        From qkv in its own layout to the output in its own layout.
    padding
        How its layout differs from packed rows, if it does.
    context
        Entered around all calls.
    plan_s, mask_s
        Seconds that its preparation takes for every batch.
    graph
        Whether to record it as a CUDA graph too.
    """

    forward: Callable[[Tensor], Tensor]
    padding: Padding | None = None
    context: Callable[[], AbstractContextManager[object]] = nullcontext
    plan_s: float | None = None
    mask_s: float | None = None
    graph: bool = False

    def enter(self, rows: Tensor, *, noise: bool) -> Tensor:
        """Bring packed rows into the layout of this provider."""
        return rows if self.padding is None else self.padding.enter(rows, noise=noise)

    def leave(self, result: Tensor) -> Tensor:
        """Bring a result back to packed rows."""
        return result if self.padding is None else self.padding.leave(result)


def entered(attention: Attention, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Bring qkv and the gradient of the output into the layout of a provider."""
    # A padded row gives no output that anybody reads, so that its gradient is zero.
    return attention.enter(inputs[0], noise=True), attention.enter(inputs[1], noise=False)


def calls_of(
    attention: Attention, case: Case, inputs: Sequence[tuple[Tensor, Tensor]]
) -> list[Call]:
    """Return one call for each of several inputs in the layout of the provider."""
    calls: list[Call] = []
    for qkv, grad in inputs:
        if not case.backward:
            calls.append(partial(attention.forward, qkv))
            continue
        needs_grad = qkv.detach().requires_grad_()
        out = attention.forward(needs_grad)
        calls.append(partial(torch.autograd.grad, out, needs_grad, grad, retain_graph=True))
    return calls


def _triton(case: Case) -> Attention:
    def plan() -> RaggedPlan:
        return RaggedPlan.from_lengths(case.lengths, case.device)

    if case.device != "cuda":
        raise UnavailableError("its kernels need an NVIDIA GPU")
    made = plan()
    attend = partial(ragged_attention, cu_seqlens=made.cu_seqlens, plan=made, backend="triton")
    return Attention(attend, plan_s=host_seconds(plan, case.device), graph=True)


def _bucketed(case: Case, backend: SDPBackend | None = None) -> Attention:
    def plan() -> RaggedPlan:
        fresh = RaggedPlan.from_lengths(case.lengths, case.device)
        assert fresh.buckets  # made on first use
        return fresh

    if backend is not None and case.device != "cuda":
        raise UnavailableError("the choice among these backends is a GPU's")
    made = plan()
    attend = partial(ragged_attention, cu_seqlens=made.cu_seqlens, plan=made, backend="sdpa")
    context = nullcontext if backend is None else partial(sdpa_kernel, backend)
    return Attention(
        attend, context=context, plan_s=host_seconds(plan, case.device), graph=backend is None
    )


def _padded(case: Case, longest: int, masked: bool) -> Attention:
    padding = Padding(case.lengths, longest, case.dtype, case.device)
    bias = padding.bias if masked else None

    def attend(qkv: Tensor) -> Tensor:
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, N, d)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return mixed.transpose(1, 2).contiguous()

    return Attention(attend, padding)


def _padded_to_ten(case: Case) -> Attention:
    return _padded(case, tokens((10,))[0], masked=True)


def _padded_to_longest(case: Case) -> Attention:
    # Where nothing is padded, a mask would only slow it down.
    return _padded(case, max(case.lengths), masked=len(set(case.lengths)) > 1)


def _varlen(case: Case) -> Attention:
    _only_half_on_gpu(case)
    from torch.nn.attention.varlen import varlen_attn

    starts = RaggedPlan.from_lengths(case.lengths, case.device).cu_seqlens
    longest = max(case.lengths)

    def attend(qkv: Tensor) -> Tensor:
        q, k, v = qkv.unbind(1)
        return varlen_attn(q, k, v, starts, starts, longest, longest)

    return Attention(attend, graph=True)


def _flash_attn(case: Case) -> Attention:
    _only_half_on_gpu(case)
    try:
        from flash_attn import flash_attn_varlen_qkvpacked_func
    except ImportError as missing:
        raise UnavailableError("flash-attn is not installed") from missing
    starts = RaggedPlan.from_lengths(case.lengths, case.device).cu_seqlens
    longest = max(case.lengths)
    return Attention(
        partial(flash_attn_varlen_qkvpacked_func, cu_seqlens=starts, max_seqlen=longest),
        graph=True,
    )


def _only_half_on_gpu(case: Case) -> None:
    if case.device != "cuda" or case.dtype.itemsize != 2:
        raise UnavailableError("it takes bfloat16 and float16 on a GPU alone")


def _flex(case: Case) -> Attention:
    if case.device != "cuda":
        raise UnavailableError("on a CPU it compiles for twenty seconds a batch")
    if case.workload != "long-tailed" or case.images < 64 or case.dtype != torch.bfloat16:
        raise UnavailableError("it compiles anew for every batch: timed on the long-tailed")
    return flex(case)


def flex(case: Case) -> Attention:
    """Prepare FlexAttention with a document mask, for any batch on any device."""
    import torch._functorch.config
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    # Else a compiled backward pass frees what it read, and cannot be timed twice.
    torch._functorch.config.donated_buffer = False
    torch.compiler.reset()  # so that many batches count as no recompilations of one
    rows = sum(case.lengths)
    lengths = torch.tensor(case.lengths, device=case.device)
    image = torch.arange(len(lengths), device=case.device).repeat_interleave(lengths)

    def same_image(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return image[query] == image[key]

    def make_mask() -> object:
        return compiled_mask(same_image, None, None, rows, rows, device=case.device)

    # Uncompiled it would write out rows × rows.
    compiled_mask = torch.compile(create_block_mask, dynamic=False)
    compiled = torch.compile(flex_attention, dynamic=False)
    mask = make_mask()

    def attend(qkv: Tensor) -> Tensor:
        q, k, v = qkv.permute(1, 2, 0, 3)[:, None]  # each (1, H, T, d)
        return compiled(q, k, v, block_mask=mask)[0].transpose(0, 1).contiguous()

    return Attention(attend, mask_s=host_seconds(make_mask, case.device))


TRITON, BUCKETED = "zoo triton", "zoo sdpa (bucketed)"
PADDED = "padded to ten channels"
PROVIDERS: dict[str, Callable[[Case], Attention]] = {
    TRITON: _triton,
    BUCKETED: _bucketed,
    "bucketed, flash": partial(_bucketed, backend=SDPBackend.FLASH_ATTENTION),
    "bucketed, cudnn": partial(_bucketed, backend=SDPBackend.CUDNN_ATTENTION),
    "bucketed, efficient": partial(_bucketed, backend=SDPBackend.EFFICIENT_ATTENTION),
    "bucketed, math": partial(_bucketed, backend=SDPBackend.MATH),
    "varlen_attn": _varlen,
    "flash-attn": _flash_attn,
    "FlexAttention": _flex,
    PADDED: _padded_to_ten,
    "padded to longest": _padded_to_longest,
}


def refusal(error: Exception) -> str | None:
    """Say why a provider does not take a batch, if that is what an error means."""
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, UnavailableError):
        return text
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory"
    if isinstance(error, RuntimeError) and (
        "no available kernel" in text.lower() or "cudnn" in text.lower()
    ):
        return text
    return None
