"""Train the tiny preset from several seeds, and compare each network with its untrained twin.

Usage: python benchmarks/train_seeds.py [--dataset phantom] [--seeds 3] [--set NAME=VALUE ...]
[--label LABEL --group GROUP] [--out FILE.csv]

The network learns without labels from the very images that it is then judged on. Differences are
paired over groups, as `zoo evaluate` gives them.
"""

import argparse
import tempfile
import time
import tomllib
from pathlib import Path

import pandas as pd
from machine import machine

import zoo

RESULTS = Path(__file__).parent / "results"


def row_of(name: str, seed: int, changes: dict[str, object], **design: str) -> pd.DataFrame:
    """Train from one seed; one row a score."""
    dataset = zoo.load_dataset(name) if name == "phantom" else zoo.open_images(name)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        run = zoo.train(dataset, Path(folder, "run"), device="cpu", seed=seed, **changes)
        seconds = time.monotonic() - began
        asked = {"controls": [run.twin], "control_seeds": 3, **design}
        result = zoo.evaluate(run.encoder, dataset, **asked)
        beside = zoo.evaluate("pixel-statistics", dataset, controls=["constant"], **design)
    rows = []
    for row, other in zip(result.rows, beside.rows, strict=True):
        verdict = row.verdict
        rows.append(
            {
                "dataset": dataset.name,
                "seed": seed,
                "steps": run.settings.steps,
                "seconds": round(seconds, 1),
                "waited": round(run.waited, 3),
                "loss": round(run.log[-1]["loss"], 3),
                "score": f"{row.task}, {row.metric}",
                "trained": row.estimates[result.encoder].value,
                "twin": row.estimates[run.twin].value,
                "difference": verdict.gap,
                "low": verdict.low,
                "high": verdict.high,
                "pixel_statistics": other.estimates["pixel-statistics"].value,
            }
        )
    return pd.DataFrame(rows).assign(**{k: machine("cpu")[k] for k in ("device", "torch")})


def main() -> None:
    """Train, compare, write each seed as it is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="phantom")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--label")
    parser.add_argument("--group")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS / "train-phantom.csv")
    given = parser.parse_args()
    changes = {k: v for text in given.set for k, v in tomllib.loads(text).items()}
    design = {k: v for k in ("label", "group") if (v := getattr(given, k)) is not None}
    found = []
    for seed in range(given.seeds):
        found.append(row_of(given.dataset, seed, changes, **design))
        print(found[-1].round(2).to_string(index=False), flush=True)
        pd.concat(found).to_csv(given.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
