"""timm networks on single planes: how their input lies in memory, and whether they are compiled.

``python benchmarks/bench_timm.py`` times each network as the zoo runs it (colours innermost), with
colours outermost, and compiled, alternately in one run, and keeps the rows in `benchmarks/results`.
What differs from the zoo's features by more than rounding gets no time.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import kept_rows
import torch
from device_clock import seconds_per_call
from kept_rows import Row
from machine import machine
from torch import Tensor
from workloads import SIDE

import zoo

NETWORKS = ("resnet18", "resnet50", "efficientnet_b0", "convnext_tiny", "vit_small_patch16_224")
OURS, OUTERMOST, COMPILED = "zoo", "colours outermost", "compiled"
PLANES = {"cpu": 16, "cuda": 256}
KEY = ("network", "way", "planes")
FIELDS = (
    *("network", "way", "planes", "planes_per_s", "p20_s", "median_s", "p80_s", "rounds"),
    *("device", "sm_clock_mhz", "driver", "torch", "triton", "threads", "commit"),
)
Run = Callable[[Tensor], Tensor]


def ways(network: str, device: str) -> dict[str, Run]:
    """Return the ways to run a network, with the same parameters."""
    encoder = zoo.load(f"untrained:{network}/mean", device=device)
    model = encoder.model
    other = zoo.load(f"untrained:{network}/mean", device=device).model
    assert model is not None
    assert other is not None
    plain = other.backbone.to(memory_format=torch.contiguous_format)

    def outermost(planes: Tensor) -> Tensor:
        rgb = (planes[..., None] - other.mean) / other.std
        return plain(rgb.permute(0, 3, 1, 2).contiguous())

    return {OURS: model, OUTERMOST: outermost, COMPILED: torch.compile(model)}


def measure(network: str, device: str, planes: int, rounds: int) -> list[Row]:
    """Time the ways of one network alternately; return a row for each."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(planes, SIDE, SIDE, generator=draw).to(device)
    with torch.no_grad():  # compiled code is not for inference mode
        runs = ways(network, device)
        wanted = runs[OURS](images)
        for way, run in runs.items():
            unlike = ((run(images) - wanted).norm() / wanted.norm()).item()
            if unlike > 1e-3:
                raise SystemExit(f"{network}, {way}: differs by {unlike:.1e}, and gets no time")
        times: dict[str, list[float]] = {way: [] for way in runs}
        for _ in range(rounds):
            for way, run in runs.items():
                times[way].append(seconds_per_call([partial(run, images)], device))
    rows = []
    for way, seconds in times.items():
        ordered = sorted(seconds)
        spread = {f"p{p}_s": ordered[round(p / 100 * (rounds - 1))] for p in (20, 80)}
        row = {"network": network, "way": way, "planes": planes, "median_s": median(seconds)}
        rows.append(row | {"planes_per_s": planes / median(seconds), "rounds": rounds} | spread)
    return rows


def table(rows: Sequence[Row]) -> str:
    """Write Markdown: planes a second of the zoo, and how many times as fast as other ways."""
    lines = [
        f"| network | {OURS}, planes/s | × {OUTERMOST} | × {COMPILED} |",
        "|---|---:|---:|---:|",
    ]
    for network in dict.fromkeys(str(r["network"]) for r in rows):
        speed = {
            str(r["way"]): float(str(r["planes_per_s"])) for r in rows if r["network"] == network
        }
        ratios = " | ".join(f"{speed[OURS] / speed[way]:.2f}" for way in (OUTERMOST, COMPILED))
        lines.append(f"| {network} | {speed[OURS]:.3g} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, keep the rows, print the table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planes", type=int, default=PLANES[device])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--results", type=Path, default=kept_rows.RESULTS, help="folder of rows")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    arguments = parser.parse_args()
    here = machine(device) | {"commit": kept_rows.current_commit()}
    rows: list[Row] = []
    for network in arguments.networks:
        found = measure(network, device, arguments.planes, arguments.rounds)
        rows += [{**row, **here} for row in found]
    kept_rows.write(kept_rows.path_for("timm", here["device"], arguments.results), FIELDS, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
