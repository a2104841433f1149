"""Ragged attention as an operator of PyTorch: tile sizes, launches, gradients.

In the namespace `microscopy_zoo`: `ragged_attention` and `ragged_attention_backward`.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor

from . import _ragged_attention_triton as kernels
from ._operators import needs_no_dispatcher, operator
from ._ragged_plan import TILE

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether Triton runs kernels on the CPU, slowly, to check them: ``TRITON_INTERPRET=1``."""
RELEASE = tuple(int(part) for part in triton.__version__.split(".")[:2])
TAIL = 16
"""Rows of a step at the end of a sequence, where a whole step would be mostly empty."""
SHARED_MEMORY = 99 * 1024
"""Bytes of shared memory that GPUs before Hopper must offer to a program."""


@dataclass(frozen=True)
class Tiles:
    """Sizes of one kernel: rows a program owns, rows of a step, warps, stages of loading.

    `emulated` is the number of eighths of the exponentials that multiply-adds compute.
    """

    own: int
    step: int
    warps: int
    stages: int
    emulated: int = 0


# By kernel, arithmetic and head size; why these, is in README.md beside this file.
TILES: dict[tuple[str, str], dict[int, Tiles]] = {
    ("forward", "half"): {
        16: Tiles(128, 64, 4, 2),
        32: Tiles(128, 64, 4, 2),
        64: Tiles(128, 64, 8, 2),
        96: Tiles(128, 32, 8, 1),
    },
    ("query_gradient", "half"): {
        16: Tiles(128, 64, 4, 2),
        32: Tiles(128, 64, 4, 2),
        64: Tiles(128, 64, 8, 2),
        96: Tiles(128, 32, 8, 2),
    },
    ("key_gradient", "half"): {
        16: Tiles(128, 64, 4, 2),
        32: Tiles(128, 64, 8, 2),
        64: Tiles(128, 64, 8, 2),
        96: Tiles(64, 32, 4, 1),
    },
    ("forward", "tf32"): {
        16: Tiles(128, 32, 4, 2),
        32: Tiles(128, 32, 8, 2),
        64: Tiles(128, 32, 8, 2),
        96: Tiles(64, 32, 4, 1),
    },
    ("query_gradient", "tf32"): {
        16: Tiles(128, 32, 4, 2),
        32: Tiles(128, 32, 8, 2),
        64: Tiles(64, 32, 4, 2),
        96: Tiles(64, 32, 4, 1),
    },
    ("key_gradient", "tf32"): {
        16: Tiles(128, 32, 4, 2),
        32: Tiles(128, 32, 4, 2),
        64: Tiles(64, 16, 4, 2),
        96: Tiles(32, 32, 4, 2),
    },
    ("forward", "ieee"): {
        16: Tiles(128, 32, 4, 2),
        32: Tiles(64, 32, 4, 1),
        64: Tiles(64, 16, 8, 1),
        96: Tiles(16, 16, 8, 1),
    },
    ("query_gradient", "ieee"): {
        16: Tiles(128, 32, 4, 2),
        32: Tiles(64, 32, 4, 1),
        64: Tiles(64, 16, 8, 1),
        96: Tiles(16, 16, 8, 1),
    },
    ("key_gradient", "ieee"): {
        16: Tiles(128, 16, 4, 2),
        32: Tiles(64, 16, 4, 2),
        64: Tiles(64, 16, 8, 1),
        96: Tiles(16, 16, 8, 1),
    },
}
# One query of an image, where only its first row is wanted: sixteen rows are the fewest possible.
FIRST_ROW = Tiles(16, 32, 4, 2)
FIRST_ROW_OF_LARGE_HEADS = {
    ("tf32", 96): Tiles(16, 16, 4, 2),
    ("ieee", 96): Tiles(16, 16, 8, 1),
}
HEAD_SIZES = tuple(TILES["forward", "half"])
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def constants(kernel: str, size: int, dtype: torch.dtype, tf32: bool, first: bool) -> Any:
    """Return the tile sizes and the compile-time constants of a kernel."""
    arithmetic = "half" if dtype.itemsize == 2 else "tf32" if tf32 else "ieee"
    tiles = TILES[kernel, arithmetic][size]
    if first and kernel != "key_gradient":
        tiles = FIRST_ROW_OF_LARGE_HEADS.get((arithmetic, size), FIRST_ROW)
    values = {
        "D": size,
        "WIDTH": 1 << (size - 1).bit_length(),  # the next power of two
        "OWN": tiles.own,
        "STEP": tiles.step,
        "TAIL": TAIL,
        "STAGES": tiles.stages,
        "FIRST_ONLY": first,
        "PRECISION": "tf32" if tf32 else "ieee",
        "UPCAST": INTERPRETED and dtype == torch.bfloat16,
    }
    if kernel == "forward":
        values["SUM_BY_DOT"] = dtype.itemsize == 2 and size <= 32
        values["EMULATED"] = tiles.emulated
    return tiles, values


def why_not(qkv: Tensor) -> str | None:
    """Return why the kernels do not support a tensor, or None."""
    if qkv.dtype not in DTYPES:
        return f"it takes bfloat16, float16 and float32, but qkv is {qkv.dtype}"
    if int(qkv.shape[-1]) not in HEAD_SIZES:
        sizes = ", ".join(map(str, HEAD_SIZES))
        return f"it has no tiles for heads of size {qkv.shape[-1]}, only for {sizes}"
    return why_no_gpu(qkv.device)


def why_no_gpu(device: torch.device) -> str | None:
    """Return why kernels cannot run on a device, or None."""
    if INTERPRETED:
        return None
    if device.type != "cuda" or torch.version.hip is not None:
        return f"it needs an NVIDIA GPU, but the tensors are on {device}"
    gpu = properties(device)
    if gpu.major < 8:
        return f"it needs compute capability 8.0, but {device} has {gpu.major}.{gpu.minor}"
    if gpu.major == 10 and RELEASE < (3, 8):  # whose compiler crashes on the forward pass
        return f"on {device} it needs Triton 3.8, but {triton.__version__} is installed"
    offered = gpu.shared_memory_per_block_optin
    if offered < SHARED_MEMORY:
        return (
            f"it needs {SHARED_MEMORY} bytes of shared memory for a program, but {device} "
            f"offers {offered}"
        )
    return None


def properties(device: torch.device) -> Any:
    """Return the properties of a GPU, which are looked up for every launch but asked for once."""
    if torch.compiler.is_compiling():  # PyTorch's compiler cannot look into a cache
        return torch.cuda.get_device_properties(device)
    return cached_properties(device)


@cache
def cached_properties(device: torch.device) -> Any:  # stubs of torch differ
    """Ask for the properties of a GPU."""
    return torch.cuda.get_device_properties(device)


def _launch(kernel: str, tensors: tuple[Tensor, ...], qkv: Tensor, tiles: Tensor, rows: int,
            scale: float, tf32: bool, first: bool) -> None:  # fmt: skip
    if tiles.shape[0] == 0:
        return
    sizes, values = constants(kernel, int(qkv.shape[3]), qkv.dtype, tf32, first)
    heads = qkv.shape[2]
    programs = 1 if first and kernel != "key_gradient" else TILE // sizes.own  # for each tile
    grid = (tiles.shape[0] * heads, programs)
    arguments = (
        *tensors, tiles, scale * math.log2(math.e),
        qkv.stride(0), qkv.stride(1), qkv.stride(2), heads, rows,
    )  # fmt: skip
    launch(getattr(kernels, kernel), grid, sizes.warps, arguments, values)


def launch(
    kernel: Any, grid: tuple[int, ...], warps: int, arguments: tuple[Any, ...], values: Any
) -> None:
    """Launch a kernel of an operator, with its compile-time constants as `values`."""
    plain = INTERPRETED or needs_no_dispatcher(arguments[0])
    function: Any = kernel if plain else torch.library.wrap_triton(kernel)
    options: dict[str, object] = {"num_warps": warps}
    # Triton launches on the current GPU, which need not be that of the tensors. The compiler's
    # wrapper takes care of that, and does not know the option.
    device: Any = nullcontext()
    if function is kernel and not INTERPRETED:
        device = torch.cuda.device(arguments[0].device)
        options["enable_fp_fusion"] = True
    with device:
        function[grid](*arguments, **values, **options)


def _outputs(
    qkv: Tensor, sequences: int, first_only: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    total, _, heads, size = qkv.shape
    if first_only:  # an empty sequence has no first row
        out = qkv.new_zeros((sequences, heads, size), dtype=dtype)
        return out, qkv.new_full((heads, sequences), -math.inf, dtype=torch.float32)
    out = qkv.new_empty((total, heads, size), dtype=dtype)
    return out, qkv.new_empty((heads, total), dtype=torch.float32)


@operator("ragged_attention", traced=not INTERPRETED)
def attend(
    qkv: Tensor, tiles: Tensor, firsts: Tensor, sequences: int, first_only: bool, scale: float,
    tf32: bool, dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the output and, `(H, rows)`, the base-2 logarithm of the sum of exponentials."""
    out, lse = _outputs(qkv, sequences, first_only, dtype)
    items = firsts if first_only else tiles
    _launch("forward", (qkv, out, lse), qkv, items, out.shape[0], scale, tf32, first_only)
    return out, lse


@operator("ragged_attention_backward", traced=not INTERPRETED)
def attend_backward(
    grad_out: Tensor, grad_lse: Tensor, qkv: Tensor, out: Tensor, lse: Tensor, tiles: Tensor,
    firsts: Tensor, first_only: bool, scale: float, tf32: bool,
) -> Tensor:  # fmt: skip
    """Return the gradient of `qkv`, contiguous."""
    grad_out, grad_lse = grad_out.to(qkv.dtype).contiguous(), grad_lse.contiguous()
    delta = torch.empty_like(lse)
    rows = out.shape[0]
    if first_only:
        grad = torch.zeros(qkv.shape, dtype=qkv.dtype, device=qkv.device)
    else:
        grad = torch.empty(qkv.shape, dtype=qkv.dtype, device=qkv.device)
    _launch(
        "query_gradient", (qkv, out, lse, grad_out, grad_lse, delta, grad), qkv,
        firsts if first_only else tiles, rows, scale, tf32, first_only,
    )  # fmt: skip
    _launch(
        "key_gradient", (qkv, lse, delta, grad_out, grad), qkv,
        tiles, rows, scale, tf32, first_only,
    )  # fmt: skip
    return grad


if INTERPRETED:

    @attend.register_fake
    def _(qkv, tiles, firsts, sequences, first_only, scale, tf32, dtype):  # type: ignore[no-untyped-def]
        return _outputs(qkv, sequences, first_only, dtype)

    @attend_backward.register_fake
    def _(grad_out, grad_lse, qkv, *others):  # type: ignore[no-untyped-def]
        return torch.empty(qkv.shape, dtype=qkv.dtype, device=qkv.device)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    qkv, tiles, firsts, _, ctx.first_only, ctx.scale, ctx.tf32, _ = inputs
    ctx.save_for_backward(qkv, *output, tiles, firsts)


def _backward(ctx: Any, grad_out: Tensor, grad_lse: Tensor) -> tuple[Tensor | None, ...]:
    qkv, out, lse, tiles, firsts = ctx.saved_tensors
    grad = attend_backward(
        grad_out, grad_lse, qkv, out, lse, tiles, firsts, ctx.first_only, ctx.scale, ctx.tf32
    )
    return grad, None, None, None, None, None, None, None


attend.register_autograd(_backward, setup_context=_save)
