"""Packing tokens as an operator of PyTorch: tiles, launch, gradients.

In the namespace `microscopy_zoo`: `pack_tokens` and `pack_tokens_backward`.
"""

from typing import Any

import torch
from torch import Tensor

from . import _pack_tokens_triton as kernels
from ._fused_layer_op import constants, tiles_for
from ._fused_layer_op import why_not as why_not
from ._operators import operator
from ._patches import cut_patches, join_patches
from ._ragged_attention_op import INTERPRETED, launch


@operator("pack_tokens", traced=not INTERPRETED)
def pack_tokens(
    pixels: Tensor, weight: Tensor, bias: Tensor, position: Tensor, channel: Tensor, first: Tensor,
    planes: Tensor, starts: Tensor, rows: int, patch: int,
) -> Tensor:  # fmt: skip
    """Return `(rows, D)` in the dtype of `first`; rows of no sequence are undefined."""
    dim = weight.shape[0]
    out = torch.empty((rows, dim), dtype=first.dtype, device=pixels.device)
    count, _, width = pixels.shape
    sequences, patches = starts.shape[0] - 1, position.shape[0]
    if patch * (pixels.stride(1) + pixels.stride(2)) >= 2**31:
        pixels = pixels.contiguous()  # offsets inside a patch have 32 bits
    tiles = tiles_for("pack_tokens", pixels.device)
    programs = -(-count * patches // tiles.rows) + -(-sequences // tiles.rows)
    arguments = (
        pixels, out, planes, starts, weight, bias, position, channel, first, rows, count,
        sequences, patches, width // patch, *pixels.stride(),
    )  # fmt: skip
    values = constants("pack_tokens", int(dim), weight.dtype, tiles) | {"PATCH": patch}
    launch(kernels.pack_tokens, (programs,), tiles.warps, arguments, values)
    return out


@torch.library.custom_op("microscopy_zoo::pack_tokens_backward", mutates_args=())
def pack_tokens_backward(
    grad: Tensor, pixels: Tensor, weight: Tensor, position: Tensor, channel: Tensor,
    planes: Tensor, starts: Tensor, patch: int,
) -> list[Tensor]:  # fmt: skip
    """Return the gradients of pixels, weight, bias, position, channel and first row."""
    patches = position.shape[0]
    there = (planes[:, 0] >= 0)[:, None, None]
    inside = torch.arange(patches, device=grad.device)
    tokens = grad[planes[:, :1].clamp(min=0).long() + inside] * there  # (N, P, D)
    low = tokens.to(weight.dtype)
    cut = cut_patches(pixels, patch).to(weight.dtype)  # (N, P, patch²)
    member = torch.nn.functional.one_hot(planes[:, 1].long(), len(channel)).to(grad.dtype)
    firsts = starts[:-1]
    begun = ((firsts < grad.shape[0]) & (starts.diff() > 0))[:, None]
    return [
        join_patches(low @ weight, *pixels.shape[1:]),
        low.flatten(0, 1).T @ cut.flatten(0, 1),
        tokens.sum((0, 1)),
        tokens.sum(0),
        member.T @ tokens.sum(1),
        (grad[firsts.long().clamp(max=grad.shape[0] - 1)] * begun).sum(0),
    ]


@pack_tokens_backward.register_fake
def _(grad, pixels, weight, position, channel, *others):  # type: ignore[no-untyped-def]
    wide = (weight[:, 0], position, channel, weight[:, 0])
    return [
        *(torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (pixels, weight)),
        *(grad.new_empty(t.shape) for t in wide),
    ]


if INTERPRETED:

    @pack_tokens.register_fake
    def _(pixels, weight, bias, position, channel, first, planes, starts, rows, patch):  # type: ignore[no-untyped-def]
        return torch.empty((rows, weight.shape[0]), dtype=first.dtype, device=pixels.device)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    pixels, weight, bias, position, channel, first, planes, starts, _, ctx.patch = inputs
    ctx.dtypes = [t.dtype for t in (pixels, weight, bias, position, channel, first)]
    ctx.save_for_backward(pixels, weight, position, channel, planes, starts)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    found = pack_tokens_backward(grad.contiguous(), *ctx.saved_tensors, ctx.patch)
    lowered = (g.to(dtype) for g, dtype in zip(found, ctx.dtypes, strict=True))
    return (*lowered, None, None, None, None)


pack_tokens.register_autograd(_gradient, setup_context=_save)
