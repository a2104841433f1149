"""Try tile sizes of the Triton kernels on this GPU.

For every kernel and head size, in bfloat16: each candidate is checked, then timed on two batches;
one that is wrong or does not launch is listed with the reason. First rows and warps are chosen,
then stages and emulated exponentials. The times of the gradient kernels are those of the whole
backward pass, with the other kernel as it is shipped.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import geometric_mean, median
from unittest import mock

import kept_rows
import torch
from attention_cases import HEADS, Case
from attention_gate import Gate, poison, relative_error
from device_clock import Call, seconds_per_call, warm_up
from machine import machine
from zoo.kernels import RaggedPlan, ragged_attention

# Private, because nobody but this script has a reason to change tile sizes.
from zoo.kernels._ragged_attention_op import TILES, Tiles

KERNELS = ("forward", "query_gradient", "key_gradient")
WORKLOADS = ("long-tailed", "uniform 1-10")
IMAGES = 64
ROUNDS = 15
# Compiling takes most of the time, so that candidates are few and compiled side by side.
WORKERS = 12
OWN, STEP, WARPS, STAGES, EMULATED = (64, 128), (32, 64, 128), (4, 8), (1, 2, 3, 4), (0, 1, 2, 3)
FIELDS = (
    *("kernel", "head_size", "workload", "own", "step", "warps", "stages", "emulated"),
    *("p20_s", "median_s", "p80_s", "relative_error", "problem"),
    *("device", "driver", "torch", "triton", "commit"),
)
Row = dict[str, object]


def shapes(kernel: str, size: int) -> list[Tiles]:
    """Return the shipped tile sizes, and others whose sums and scores fit in registers."""
    shipped = TILES[kernel, "half"][size]
    width = 1 << (size - 1).bit_length()
    sums = 2 if kernel == "key_gradient" else 1
    found = [shipped]
    for own, step, warps in product(OWN, STEP, WARPS):
        registers = own * (sums * width + 2 * step) / (32 * warps)
        # With fewer than 16 rows each, warps would repeat one another's work.
        if registers <= 200 and own >= 16 * warps:
            found.append(replace(shipped, own=own, step=step, warps=warps))
    return list(dict.fromkeys(found))


def refinements(kernel: str, tiles: Tiles) -> list[Tiles]:
    """Return tile sizes that differ in the stages of loading or in emulated exponentials."""
    found = [replace(tiles, stages=stages) for stages in STAGES]
    if kernel == "forward":  # the gradients' kernels emulate none
        found += [replace(tiles, emulated=eighths) for eighths in EMULATED]
    return [t for t in dict.fromkeys(found) if t != tiles]


def best(rows: Iterable[Row]) -> tuple[Tiles, float] | None:
    """Return the fastest tiles that pass on all batches, and their mean seconds."""
    times: dict[Tiles, list[float]] = {}
    refused = set()
    for row in rows:
        tiles = Tiles(*(int(str(row[name])) for name in asdict(Tiles(0, 0, 0, 0))))
        if row.get("problem"):
            refused.add(tiles)
        else:
            times.setdefault(tiles, []).append(float(str(row["median_s"])))
    means = {t: geometric_mean(found) for t, found in times.items() if t not in refused}
    return min(means.items(), key=lambda item: item[1]) if means else None


@contextmanager
def in_use(kernel: str, size: int, tiles: Tiles) -> Iterator[None]:
    """Let a kernel run with other tile sizes."""
    with mock.patch.dict(TILES[kernel, "half"], {size: tiles}):
        yield


def case_of(kernel: str, size: int, workload: str, device: str, images: int) -> Case:
    """Return the batch that a kernel is timed on."""
    return Case(workload, images, size, torch.bfloat16, device, backward=kernel != "forward")


@cache
def call_of(case: Case) -> Call:
    """Return what computes the output, or the gradient."""
    qkv, grad = case.inputs(0)
    plan = RaggedPlan.from_lengths(case.lengths, case.device)

    def attend(rows: torch.Tensor) -> torch.Tensor:
        return ragged_attention(rows, plan.cu_seqlens, plan=plan, backend="triton")

    if not case.backward:
        return lambda: attend(qkv)
    rows = qkv.detach().requires_grad_()
    out = attend(rows)
    return lambda: torch.autograd.grad(out, rows, grad, retain_graph=True)[0]


@cache
def gate_of(case: Case) -> Gate:
    """Return the right answer."""
    qkv, grad = case.inputs(0)
    return Gate.of(qkv, case.lengths, grad if case.backward else None)


def compiled(kernel: str, size: int, tiles: Tiles, device: str, images: int) -> None:
    """Compile a candidate, in a worker, into the cache that all processes share."""
    with suppress(Exception), in_use(kernel, size, tiles):  # timing it will say what is wrong
        for workload in WORKLOADS:
            # Uncached: the inputs of all batches, times the workers, would fill the GPU.
            call_of.__wrapped__(case_of(kernel, size, workload, device, images))()


def measured(kernel: str, size: int, tiles: Tiles, workload: str, device: str, images: int) -> Row:
    """Check and time a candidate on one batch."""
    row: Row = {"kernel": kernel, "head_size": size, "workload": workload, **asdict(tiles)}
    case = case_of(kernel, size, workload, device, images)
    try:
        call = call_of(case)
        with in_use(kernel, size, tiles):
            poison(*case.inputs(0))
            found: torch.Tensor = call()  # type: ignore[assignment]
            wrong = gate_of(case).refuse(found)
            if wrong is not None:
                return row | {"problem": wrong}
            warm_up(call, device, 0.02)
            times = sorted(seconds_per_call([call], device) for _ in range(ROUNDS))
    except Exception as failure:
        text = str(failure).strip().partition("\n")[0]
        return row | {"problem": f"{type(failure).__name__}: {text}"}
    spread = {f"p{p}_s": times[round(p / 100 * (ROUNDS - 1))] for p in (20, 80)}
    error = relative_error(found, gate_of(case).wanted)
    return row | spread | {"median_s": median(times), "relative_error": error}


def tuned(
    kernels: Sequence[str], sizes: Sequence[int], device: str, images: int, workers: int
) -> list[Row]:
    """Try everything; return a row for each candidate and batch."""
    tried: dict[tuple[str, int], list[Row]] = {pair: [] for pair in product(kernels, sizes)}
    todo = {pair: shapes(*pair) for pair in tried}
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for last in (False, True):
            work = [(*pair, t, device, images) for pair, found in todo.items() for t in found]
            with suppress(BrokenProcessPool):  # then this process compiles, one by one
                list(pool.map(compiled, *zip(*work, strict=True)))
            for pair, found in todo.items():
                for tiles, workload in product(found, WORKLOADS):
                    tried[pair].append(measured(*pair, tiles, workload, device, images))
            if not last:
                fastest = {pair: best(rows) for pair, rows in tried.items()}
                todo = {
                    pair: refinements(pair[0], found[0])
                    for pair, found in fastest.items()
                    if found is not None
                }
    return [row for rows in tried.values() for row in rows]


def summary(rows: Sequence[Row]) -> list[str]:
    """Write a line for each kernel and head size: the fastest tiles beside the shipped ones."""
    lines = [
        f"{r['kernel']} {r['head_size']} on {r['workload']}, "
        f"{[r[name] for name in asdict(Tiles(0, 0, 0, 0))]}: {r['problem']}"
        for r in rows
        if r.get("problem")
    ]
    for kernel, size in dict.fromkeys((str(r["kernel"]), int(str(r["head_size"]))) for r in rows):
        own = [r for r in rows if (r["kernel"], r["head_size"]) == (kernel, size)]
        shipped = TILES[kernel, "half"][size]
        now = best(r for r in own if all(r[k] == v for k, v in asdict(shipped).items()))
        found = best(own)
        if found is None:
            lines.append(f"{kernel} {size}: nothing passes")
            continue
        gain = f"{now[1] / found[1]:.2f} × as fast as" if now else "and not"
        lines.append(f"{kernel} {size}: {found[0]}, {gain} what is shipped")
    return lines


def main() -> None:
    """Tune on this GPU; keep the rows and print the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commit", help="what was measured, where git cannot tell")
    parser.add_argument("--results", type=Path, default=kept_rows.RESULTS, help="folder of rows")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("tile sizes are tuned on a GPU, and this machine has none")
    here = machine("cuda") | {"commit": arguments.commit or kept_rows.current_commit()}
    rows = tuned(KERNELS, tuple(HEADS), "cuda", IMAGES, WORKERS)
    target = kept_rows.path_for("tiles", here["device"], arguments.results)
    kept_rows.write(target, FIELDS, [row | here for row in rows])
    print("\n".join(summary(rows)))
    print(f"{target} is written")


if __name__ == "__main__":
    main()
