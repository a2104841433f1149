"""A training step beside its rivals, in one process and by turns.

Usage: python benchmarks/train_step.py [--rounds 5] [--out FILE.csv]

For images of 3 channels, and of 1 to 10, at 224 px: forward and backward of ChAda-ViT through the
packed kernels; the same of the padded network, as its authors run it; and the packed forward alone.
Medians of rounds; ratios are of the same round.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from machine import machine
from padded_original import PaddedChAdaViT

import zoo
from zoo import plugin

RESULTS = Path(__file__).parent / "results"
CASES = {"3 channels": [3] * 4, "1 to 10 channels": [1, 10, 2, 5]}
SIDE = 224


def seconds(run: Callable[[], object], device: str) -> float:
    """Time one call, and what it leaves to the device."""
    began = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(
    name: str, counts: list[int], rounds: int, *, device: str = "cpu", side: int = SIDE
) -> dict[str, object]:
    """Time all ways by turns."""
    torch.manual_seed(0)
    spec = plugin.get_spec("chadavit-untrained")
    packed = plugin.build(replace(spec, preprocessing=zoo.Preprocessing())).to(device)
    assert packed.model is not None
    packed.model.train()
    padded = PaddedChAdaViT().to(device).train()
    padded.load_state_dict(packed.model.state_dict())
    planes = torch.rand(sum(counts), side, side, device=device)
    batch = zoo.ImageBatch(planes, torch.tensor(counts))

    def step(embed: Callable[[], torch.Tensor], network: torch.nn.Module) -> None:
        network.zero_grad()
        embed().square().mean().backward()

    def forward() -> None:
        with torch.inference_mode():
            packed.forward(batch)

    ways = {
        "packed": lambda: step(lambda: packed.forward(batch).embedding, packed.model),
        "padded": lambda: step(lambda: padded(planes, counts)[0], padded),
        "forward": forward,
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, run in ways.items():
            taken = seconds(run, device)
            if turn:  # the first warms up
                times[way].append(taken)

    def ratio(one: str, other: str) -> float:
        return median(a / b for a, b in zip(times[one], times[other], strict=True))

    known = machine(device)
    return {
        "case": name,
        "images": len(counts),
        "planes": sum(counts),
        "images_per_s": len(counts) / median(times["packed"]),
        "packed_step_s": median(times["packed"]),
        "padded_step_s": median(times["padded"]),
        "packed_forward_s": median(times["forward"]),
        "padded_by_packed": ratio("padded", "packed"),
        "step_by_forward": ratio("packed", "forward"),
        "rounds": rounds,
        "device": known["device"],
        "threads": known["threads"],
        "torch": known["torch"],
    }


def main() -> None:
    """Measure all cases and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "train-step.csv")
    given = parser.parse_args()
    rows = [measure(name, counts, given.rounds) for name, counts in CASES.items()]
    table = pd.DataFrame(rows)
    table.to_csv(given.out, index=False, float_format="%.4g")
    print(table.T.to_string(header=False))


if __name__ == "__main__":
    main()
