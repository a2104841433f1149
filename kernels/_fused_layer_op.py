"""The parts of a layer around its attention as operators of PyTorch: tiles, launches, gradients.

In the namespace `microscopy_zoo`: `norm_qkv`, `residual_mlp` and their ``_backward``. Forward each
is one kernel; backward is made of PyTorch's own matrix products, with what the kernel kept on the
chip computed again.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _fused_layer_triton as kernels
from ._operators import operator
from ._ragged_attention_op import INTERPRETED, launch, properties, why_no_gpu

native_layer_norm = torch.ops.aten.native_layer_norm.default
native_layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default


@dataclass(frozen=True)
class Tiles:
    """Rows that a program owns, columns or hidden units of a step, warps, stages of loading."""

    rows: int
    step: int
    warps: int
    stages: int


ROOMY = 160 * 1024
"""Bytes of shared memory per program that the larger tiles need."""
# The larger tiles, and the smaller; why these, is in README.md beside this file. The number of rows
# does not decide, so that an image gets the same bits whatever else is in the batch.
TILES: dict[str, tuple[Tiles, Tiles]] = {
    "norm_qkv": (Tiles(128, 64, 8, 2), Tiles(64, 32, 4, 2)),
    "residual_mlp": (Tiles(128, 64, 8, 2), Tiles(64, 16, 4, 2)),
    "pack_tokens": (Tiles(64, 32, 4, 2), Tiles(32, 32, 4, 2)),
}
HIDDEN_STEP = max(tiles.step for tiles in TILES["residual_mlp"])
"""What hidden units are a multiple of."""
CHUNK = 64
"""Columns of a tile of a row."""
WIDTHS = (32, 64, 96, 128, 192)
"""Features of a row for which the kernels are compiled and checked; wider ones fit no registers."""
HALF = (torch.bfloat16, torch.float16)


def constants(kernel: str, dim: int, dtype: torch.dtype, tiles: Tiles) -> dict[str, Any]:
    """Return the compile-time constants of a kernel for rows of `dim` features."""
    chunk = min(CHUNK, dim & -dim)
    return {
        "CHUNK": chunk,
        "CHUNKS": dim // chunk,
        "ROWS": tiles.rows,
        "STEP": min(tiles.step, chunk) if kernel == "norm_qkv" else tiles.step,
        "STAGES": tiles.stages,
        "PRECISION": "ieee",
        "UPCAST": INTERPRETED and dtype == torch.bfloat16,
    }


def tiles_for(kernel: str, device: torch.device) -> Tiles:
    """Choose the tiles by the shared memory of the GPU; the interpreter gets the small ones."""
    large, small = TILES[kernel]
    if INTERPRETED:
        return small
    return large if properties(device).shared_memory_per_block_optin >= ROOMY else small


def why_not(x: Tensor, dtype: torch.dtype, hidden: int | None = None) -> str | None:
    """Return why the kernels do not support rows `x` and weights of a dtype, or None."""
    dim = int(x.shape[-1])
    if dim not in WIDTHS:
        return f"it takes {', '.join(map(str, WIDTHS))} features, but there are {dim}"
    if hidden is not None and hidden % HIDDEN_STEP:
        return f"it takes a multiple of {HIDDEN_STEP} hidden units, but there are {hidden}"
    if dtype not in HALF and not INTERPRETED:
        return f"it takes weights in bfloat16 and float16, but these are {dtype}"
    return why_no_gpu(x.device)


def _launch_rows(
    name: str, dtype: torch.dtype, rows: int, parts: int, arguments: tuple[Any, ...], **more: bool
) -> None:
    """Launch `parts` programs for each tile of rows."""
    x = arguments[0]
    tiles = tiles_for(name, x.device)
    values = constants(name, int(x.shape[1]), dtype, tiles) | more
    grid = (-(-rows // tiles.rows) * parts,)
    launch(getattr(kernels, name), grid, tiles.warps, arguments, values)


@operator("norm_qkv", traced=not INTERPRETED)
def norm_qkv(
    x: Tensor, gain: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, eps: float,
    query_rows: Tensor | None, dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """Return `(T, 3 D)`; with `query_rows` only those rows of the queries are defined."""
    rows, dim = x.shape
    out = torch.empty((rows, 3 * dim), dtype=dtype, device=x.device)
    if rows == 0:
        return out
    common = (gain, offset, weight, bias)
    if query_rows is None:
        _launch_rows(
            "norm_qkv", weight.dtype, rows, 3, (x, out, x, *common, rows, 0, 3, eps), GATHER=False
        )
        return out
    _launch_rows(
        "norm_qkv", weight.dtype, rows, 2, (x, out, x, *common, rows, 1, 2, eps), GATHER=False
    )
    few = query_rows.shape[0]
    _launch_rows(
        "norm_qkv", weight.dtype, few, 1, (x, out, query_rows, *common, few, 0, 1, eps), GATHER=True
    )
    return out


@operator("residual_mlp", traced=not INTERPRETED)
def residual_mlp(
    x: Tensor, mixed: Tensor, out_weight: Tensor, out_bias: Tensor, gain1: Tensor, offset1: Tensor,
    up_weight: Tensor, up_bias: Tensor, down_weight: Tensor, down_bias: Tensor, gain2: Tensor,
    offset2: Tensor, eps: float,
) -> Tensor:  # fmt: skip
    """Return the rows after the layer, in the type of `x`."""
    rows = x.shape[0]
    out = torch.empty_like(x)
    if rows == 0:
        return out
    arguments = (
        x, mixed, out, out_weight, out_bias, gain1, offset1, up_weight, up_bias, down_weight,
        down_bias, gain2, offset2, rows, up_weight.shape[0], eps,
    )  # fmt: skip
    _launch_rows("residual_mlp", up_weight.dtype, rows, 1, arguments)
    return out


@torch.library.custom_op("microscopy_zoo::norm_qkv_backward", mutates_args=())
def norm_qkv_backward(
    grad: Tensor, x: Tensor, gain: Tensor, offset: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of `x`, `gain`, `offset`, weight and bias."""
    normal, mean, scale = native_layer_norm(x, x.shape[1:], gain, offset, eps)
    grad = grad.to(weight.dtype)
    grad_normal = (grad @ weight).to(x.dtype)
    grads = native_layer_norm_backward(
        grad_normal, x, x.shape[1:], mean, scale, gain, offset, [True, True, True]
    )
    return (*grads, grad.T @ normal.to(grad.dtype), grad.sum(0))


@torch.library.custom_op("microscopy_zoo::residual_mlp_backward", mutates_args=())
def residual_mlp_backward(
    grad: Tensor, x: Tensor, mixed: Tensor, out_weight: Tensor, out_bias: Tensor, gain1: Tensor,
    offset1: Tensor, up_weight: Tensor, up_bias: Tensor, down_weight: Tensor, down_bias: Tensor,
    gain2: Tensor, offset2: Tensor, eps: float,
) -> list[Tensor]:  # fmt: skip
    """Return the gradients of all tensors of `residual_mlp`, in its order."""
    shape, low = x.shape[1:], up_weight.dtype
    summed = x + F.linear(mixed, out_weight) + out_bias
    normal, mean1, scale1 = native_layer_norm(summed, shape, gain1, offset1, eps)
    entered = normal.to(low)
    active = torch.relu(F.linear(entered, up_weight) + up_bias.to(low))
    total = normal + F.linear(active, down_weight) + down_bias
    _, mean2, scale2 = native_layer_norm(total, shape, gain2, offset2, eps)

    every = [True, True, True]
    grad_total, grad_gain2, grad_offset2 = native_layer_norm_backward(
        grad, total, shape, mean2, scale2, gain2, offset2, every
    )
    lowered = grad_total.to(low)
    grad_active = torch.where(active > 0, lowered @ down_weight, 0)
    grad_normal = grad_total + grad_active @ up_weight
    grad_summed, grad_gain1, grad_offset1 = native_layer_norm_backward(
        grad_normal, summed, shape, mean1, scale1, gain1, offset1, every
    )
    through = grad_summed.to(low)
    return [
        grad_summed, through @ out_weight, through.T @ mixed, grad_summed.sum(0),
        grad_gain1, grad_offset1, grad_active.T @ entered, grad_active.sum(0),
        lowered.T @ active, grad_total.sum(0), grad_gain2, grad_offset2,
    ]  # fmt: skip


@norm_qkv_backward.register_fake
def _(grad, x, gain, offset, weight, eps):  # type: ignore[no-untyped-def]
    return (
        *(torch.empty_like(t) for t in (x, gain, offset, weight)),
        weight.new_empty(weight.shape[0]),
    )


@residual_mlp_backward.register_fake
def _(grad, *tensors):  # type: ignore[no-untyped-def]
    return [torch.empty_like(t) for t in tensors[:-1]]


if INTERPRETED:

    @norm_qkv.register_fake
    def _(x, gain, offset, weight, bias, eps, query_rows, dtype):  # type: ignore[no-untyped-def]
        return torch.empty((x.shape[0], weight.shape[0]), dtype=dtype, device=x.device)

    @residual_mlp.register_fake
    def _(x, *others):  # type: ignore[no-untyped-def]
        return torch.empty_like(x)


def _save_norm_qkv(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, gain, offset, weight, bias, ctx.eps, query_rows, _ = inputs
    if query_rows is not None:
        raise ValueError("with query_rows there is no gradient: leave it out to train")
    ctx.bias_dtype = bias.dtype
    ctx.save_for_backward(x, gain, offset, weight)


def _norm_qkv_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *grads, grad_bias = norm_qkv_backward(grad.contiguous(), *ctx.saved_tensors, ctx.eps)
    return (*grads, grad_bias.to(ctx.bias_dtype), None, None, None)


def _save_residual_mlp(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _residual_mlp_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    found = residual_mlp_backward(grad.contiguous(), *ctx.saved_tensors, ctx.eps)
    return (*(g.to(t.dtype) for g, t in zip(found, ctx.saved_tensors, strict=True)), None)


norm_qkv.register_autograd(_norm_qkv_gradient, setup_context=_save_norm_qkv)
residual_mlp.register_autograd(_residual_mlp_gradient, setup_context=_save_residual_mlp)
