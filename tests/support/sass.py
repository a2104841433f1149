"""Machine code of the kernels of ragged attention, for GPUs that need not be there.

>>> with compilers(tmp_path) as compiled:
...     code = compiled(Configuration("forward", "bfloat16", 16, 90)).result()

Kernels are compiled and disassembled by the programs that Triton brings along, in worker processes
that are started without ``TRITON_INTERPRET`` and keep Triton's cache where they are told.
"""

import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from untraced import stop_tracing

KERNELS = ("forward", "query_gradient", "key_gradient")
CHANNEL_MASS = "channel_mass"
LAYER_KERNELS = ("norm_qkv", "residual_mlp", "pack_tokens")
PATCH = 16
ARITHMETICS = {
    "bfloat16": ("bfloat16", False),
    "float16": ("float16", False),
    "tf32": ("float32", True),
    "ieee": ("float32", False),
}
"""Type of the elements, and whether float32 may be rounded to TF32."""
TENSOR_CORES = r"HMMA|HGMMA|UTC\w*MMA"
PRODUCTS = rf"{TENSOR_CORES}|FFMA"
EXPONENTIALS = r"MUFU\.EX2"
MAXIMA = r"FMNMX"
SPILLS = r"LDL|STL"

POINTERS = {
    "lse": "fp32",
    "grad_lse": "fp32",
    "delta": "fp32",
    "mass": "fp32",
    "tiles": "i32",
    "pairs": "i32",
}
LAYER_POINTERS = {
    **dict.fromkeys(("x", "pixels", "position", "channel", "first", "bias", "out_bias"), "fp32"),
    **dict.fromkeys(("gain", "offset", "gain1", "offset1", "gain2", "offset2"), "fp32"),
    **dict.fromkeys(("up_bias", "down_bias"), "fp32"),
    **dict.fromkeys(("planes", "starts"), "i32"),
    "places": "i64",
}
"""The same for the kernels around the attention; `out` is float32 where it is the stream."""
"""Types of the elements of tensors, where they differ from those of `qkv`."""
SCALARS = {
    "scale": "fp32",
    "row_stride": "i32",
    "part_stride": "i32",
    "head_stride": "i32",
    "lse_stride": "i32",
    "heads": "i32",
    "out_rows": "i32",
    **dict.fromkeys(("rows", "first_part", "parts", "hidden", "count", "sequences"), "i32"),
    **dict.fromkeys(("patches", "columns", "plane_stride", "column_stride"), "i32"),
    "eps": "fp32",
}
STRIDES = ("row_stride", "part_stride", "head_stride", "plane_stride", "hidden")
SHORT_NAMES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


@dataclass(frozen=True)
class Configuration:
    """What is compiled: a kernel as it is launched, but for `changes`.

    `size` is that of a head, or for the kernels around the attention that of a row. A change gives
    a compile-time constant, or `num_warps`, another value.
    """

    kernel: str
    arithmetic: str
    size: int
    capability: int
    first_only: bool = False
    changes: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        changes = [f"{name}={value}" for name, value in self.changes]
        rows = ["first"] if self.first_only else []
        parts = [self.kernel, self.arithmetic, str(self.size), *rows, f"sm_{self.capability}"]
        return "-".join(parts + changes)


@dataclass(frozen=True)
class Code:
    """What the compiler made of a kernel.

    Instructions are counted by their full names. Loops, each with what is inside it, are in the
    order in which they are reached.
    """

    registers: int
    stack: int
    shared_memory: int
    warps: int
    scores: float
    """Scores of a thread in one iteration of the main loop."""
    exponentials: float
    """Exponentials of a thread in one iteration of the main loop, left after emulation."""
    instructions: Counter[str]
    loops: tuple[Counter[str], ...]

    def main_loop(self) -> Counter[str]:
        """Return the loop over whole steps: the first that multiplies and exponentiates.

        Raises `LookupError` if its exponentials are not those of one step: then it is unrolled, or
        threads do the same work twice, and its length means something else.
        """
        for loop in self.loops:
            if count(loop, PRODUCTS) and (found := count(loop, EXPONENTIALS)):
                emulated = self.exponentials < self.scores  # which takes maxima too
                if found == self.exponentials and (emulated or not count(loop, MAXIMA)):
                    return loop
                raise LookupError(f"{found} exponentials in a step of {self.exponentials}")
        raise LookupError("no loop")

    def instructions_per_score(self) -> float:
        """Return the length of the main loop in proportion to its scores."""
        return self.main_loop().total() / self.scores

    def instructions_per_activation(self) -> float:
        """Return the length of the loop over products in proportion to what a step makes."""
        loop = max(self.loops, key=lambda one: count(one, TENSOR_CORES))
        return loop.total() / self.scores


def count(instructions: Counter[str], pattern: str) -> int:
    """Return how many instructions have names that begin with a pattern."""
    return sum(n for name, n in instructions.items() if re.match(pattern, name))


@contextmanager
def compilers(cache_folder: Path) -> Iterator[Callable[[Configuration], Future[Code]]]:
    """Return a function that starts to compile, once for each configuration."""
    pool = ProcessPoolExecutor(
        os.cpu_count(), get_context("spawn"), initializer=_prepare, initargs=(str(cache_folder),)
    )
    try:
        yield cache(lambda configuration: pool.submit(_compile, configuration))
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(cache_folder: str) -> None:
    stop_tracing()
    # Triton reads these when it is imported, which no worker has done yet.
    os.environ.pop("TRITON_INTERPRET", None)
    os.environ["TRITON_CACHE_DIR"] = cache_folder


def _compile(configuration: Configuration) -> Code:
    try:
        return _code(configuration)
    except Exception as error:  # those of Triton cannot be sent to another process
        raise RuntimeError(f"{configuration}: {type(error).__name__}: {error}") from None


def _code(configuration: Configuration) -> Code:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    dtype, _ = ARITHMETICS[configuration.arithmetic]
    kernel, values, shipped_warps = _shipped(configuration)
    pointers = LAYER_POINTERS if configuration.kernel in LAYER_KERNELS else POINTERS
    if configuration.kernel in ("residual_mlp", "pack_tokens"):
        pointers = pointers | {"out": "fp32"}
    values |= {"num_warps": shipped_warps} | dict(configuration.changes)
    warps = values.pop("num_warps")
    signature = {}
    multiples_of_16 = []
    for place, name in enumerate(kernel.arg_names):
        if name in values:
            signature[name] = "constexpr"
        elif name in SCALARS:
            signature[name] = SCALARS[name]
        else:
            signature[name] = "*" + pointers.get(name, SHORT_NAMES[dtype])
        if signature[name].startswith("*") or name in STRIDES:
            multiples_of_16.append((place,))
    source = ASTSource(
        kernel,
        signature,
        {(kernel.arg_names.index(name),): value for name, value in values.items()},
        {place: [["tt.divisibility", 16]] for place in multiples_of_16},
    )
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", configuration.capability, 32),
        options={"num_warps": warps, "enable_fp_fusion": True},
    )
    usage, listing = _disassembled(compiled.asm["cubin"])
    own = values.get("ROWS", values.get("OWN", values["STEP"]))
    scores = own * values["STEP"] / (32 * warps)
    blocks, followers = control_flow(listing)
    return Code(
        registers=int(re.search(r"\bREG:(\d+)", usage)[1]),
        stack=int(re.search(r"\bSTACK:(\d+)", usage)[1]),
        shared_memory=compiled.metadata.shared,
        warps=warps,
        scores=scores,
        exponentials=scores * (8 - values.get("EMULATED", 0)) / 8,
        instructions=Counter(chain(*blocks)),
        loops=tuple(
            Counter(chain(*(blocks[one] for one in inside))) for inside in loops(followers)
        ),
    )


def _shipped(configuration: Configuration) -> tuple[Any, dict[str, Any], int]:
    """Return the kernel, its compile-time constants, and its warps."""
    import torch
    from zoo.kernels import (
        _channel_attention_triton,
        _fused_layer_op,
        _fused_layer_triton,
        _pack_tokens_triton,
        _ragged_attention_triton,
    )
    from zoo.kernels._ragged_attention_op import constants

    name, size = configuration.kernel, configuration.size
    dtype, tf32 = ARITHMETICS[configuration.arithmetic]
    kind = getattr(torch, dtype)
    if name == CHANNEL_MASS:
        return _channel_attention_triton.channel_mass, *_channel_attention_triton.constants(
            size, kind
        )
    if name in LAYER_KERNELS:
        large, small = _fused_layer_op.TILES[name]
        tiles = large if configuration.capability >= 90 else small
        values = _fused_layer_op.constants(name, size, kind, tiles)
        if name == "pack_tokens":
            return _pack_tokens_triton.pack_tokens, values | {"PATCH": PATCH}, tiles.warps
        if name == "norm_qkv":
            values["GATHER"] = configuration.first_only
        return getattr(_fused_layer_triton, name), values, tiles.warps
    tiles, values = constants(name, size, kind, tf32, configuration.first_only)
    return getattr(_ragged_attention_triton, name), values, tiles.warps


def programs() -> Path:
    """Return the folder of the compiler and the disassemblers that Triton brings along."""
    import triton

    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def _disassembled(cubin: bytes) -> tuple[str, str]:
    """Return what a kernel needs, and its instructions."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        return tuple(
            subprocess.run(
                [programs() / program, option, file], capture_output=True, text=True, check=True
            ).stdout
            for program, option in (("cuobjdump", "-res-usage"), ("nvdisasm", "-c"))
        )


def control_flow(listing: str) -> tuple[list[list[str]], list[list[int]]]:
    """Return the instructions of each basic block, and the blocks that can follow it."""
    blocks: list[list[str]] = [[]]
    ends: list[tuple[str | None, bool]] = []  # where a block may jump, and whether it may go on
    labels: dict[str, int] = {}
    for line in listing.splitlines():
        if label := re.match(r"(\.L_\w+):", line):
            if blocks[-1]:
                blocks.append([])
                ends.append((None, True))
            labels[label[1]] = len(ends)
        elif found := re.match(r"\s+/\*[0-9a-f]+\*/\s+(@\S+\s+)?([\w.]+)\s*(.*?)\s*;", line):
            predicate, name, operands = found.groups()
            blocks[-1].append(name)
            if name.startswith("CALL"):  # of a function, or another way to leave a loop
                jump = re.search(r"`\((\.L_\w+)\)$", operands)
                ends.append((jump[1] if jump else None, True))
            elif name.startswith("BRA"):
                jump = re.search(r"`\((\.L_\w+)\)$", operands)
                if jump is None:
                    raise ValueError(f"a jump to nowhere: {line.strip()}")
                ends.append((jump[1], bool(predicate) or jump[0] != operands))
            elif name.startswith(("EXIT", "RET")):
                ends.append((None, bool(predicate)))
            elif name.startswith(("BRX", "JMP", "JMX")):
                raise ValueError(f"a jump to somewhere: {line.strip()}")
            else:
                continue
            blocks.append([])
    ends.append((None, False))
    followers = [
        [block + 1] * goes_on + ([labels[label]] if label else [])
        for block, (label, goes_on) in enumerate(ends)
    ]
    return blocks, followers


def loops(followers: list[list[int]]) -> list[set[int]]:
    """Return the blocks of each loop, first reached first, given those that can follow a block.

    A loop is what leads back to a block that cannot be bypassed. Jumps backwards alone do not tell:
    code that waits may lie behind the end of the kernel, and jumps back from there.
    """
    passed: list[set[int] | None] = [{0}] + [None] * (len(followers) - 1)  # on every way to a block
    changed = True
    while changed:
        changed = False
        for block, following in enumerate(followers):
            for other in following:
                before, now = passed[block], passed[other]
                if before is None:
                    continue
                if now is None:
                    passed[other], changed = before | {other}, True
                elif not now <= before | {other}:
                    passed[other], changed = now & before | {other}, True

    def reachable(start: int) -> set[int]:
        reached, ahead = set(), [start]
        while ahead:
            if (one := ahead.pop()) not in reached:
                reached.add(one)
                ahead.extend(followers[one])
        return reached

    leading: list[list[int]] = [[] for _ in followers]
    for block, following in enumerate(followers):
        for other in following:
            if passed[block] is not None:
                leading[other].append(block)
    found: dict[int, set[int]] = {}
    for block, following in enumerate(followers):
        for start in following:
            if start in (passed[block] or ()):
                inside = found.setdefault(start, {start})
                reached = [block]
                while reached:
                    if (one := reached.pop()) not in inside:
                        inside.add(one)
                        reached.extend(leading[one])
    return [found[start] for start in sorted(found, key=lambda one: -len(reachable(one)))]
