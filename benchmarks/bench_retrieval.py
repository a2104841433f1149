"""Replicate retrieval beside copairs: time and memory, each in a process of its own.

``python benchmarks/bench_retrieval.py --copairs FOLDER`` compares at 5 000 profiles, where FOLDER
is what ``pip install --target FOLDER copairs`` filled; ``--scale`` times ours alone at 100 000.
Memory is the peak beyond what the process held before, with its libraries and profiles loaded.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import kept_rows
import numpy as np
import pandas as pd
from machine import machine

OURS, RIVAL = "zoo", "copairs"
DIMENSIONS = 192
REPLICATES = 20
PLATES = 20
CONTROL_SHARE = 0.1
NULL_SIZE = 10_000
DEFINITIONS = ("any", "controls", "across batches")
KEY = ("definition", "profiles", "provider")
FIELDS = (
    *("definition", "provider", "profiles", "dimensions", "null_size", "mean_average_precision"),
    *(
        "median_s",
        "p20_s",
        "p80_s",
        "cpu_s",
        "rounds",
        "peak_mib",
        "device",
        "threads",
        "numpy",
        "commit",
    ),
)
# Conditions of copairs: positives the same and different, negatives the same and different.
CONDITIONS: dict[str, tuple[list[str], list[str], list[str], list[str]]] = {
    "any": (["label"], [], [], ["label"]),
    "controls": (["label"], [], ["plate"], ["control"]),
    "across batches": (["label"], ["plate"], [], ["label", "plate"]),
}
Scores = Callable[[np.ndarray, pd.DataFrame, str], pd.Series]


def workload(profiles: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw weakly separate labels of 20 replicates, one on each plate, and controls on all."""
    rng = np.random.default_rng(0)
    controls = int(profiles * CONTROL_SHARE)
    label = np.concatenate(
        [np.zeros(controls, int), 1 + np.arange(profiles - controls) // REPLICATES]
    )
    table = pd.DataFrame({"label": label, "plate": np.arange(profiles) % PLATES})
    table["control"] = table["label"] == 0
    centres = rng.standard_normal((label.max() + 1, DIMENSIONS), dtype=np.float32)
    embedding = rng.standard_normal((profiles, DIMENSIONS), dtype=np.float32)
    for at, own in enumerate(label):
        embedding[at] += 0.3 * centres[own]
    return embedding, table


def ours() -> Scores:
    """Return scores of treatments by this package."""
    from zoo._replicates import DEFINITIONS as DEFINE
    from zoo._replicates import replicate_retrieval

    columns = {"any": (), "controls": ("plate", "control"), "across batches": ("plate",)}

    def score(embedding: np.ndarray, table: pd.DataFrame, definition: str) -> pd.Series:
        pairs = DEFINE[definition]("label", *columns[definition])
        found = replicate_retrieval(embedding, table, pairs, null_size=NULL_SIZE)
        return found.groups["mean_average_precision"]

    return score


def copairs() -> Scores:
    """Return scores by copairs, whose cache is a folder of its own and not the home directory."""
    from copairs.map import average_precision, mean_average_precision

    def score(embedding: np.ndarray, table: pd.DataFrame, definition: str) -> pd.Series:
        kinds = table.assign(control=table["control"].astype(int))
        conditions = CONDITIONS[definition]
        profiles = average_precision(kinds, embedding, *conditions, progress_bar=False)
        settings: dict[str, Any] = {"null_size": NULL_SIZE, "threshold": 0.05, "seed": 0}
        with tempfile.TemporaryDirectory() as cache:
            settings |= {"progress_bar": False, "cache_dir": cache}
            groups = mean_average_precision(profiles, ["label"], **settings)
        return groups.set_index("label")["mean_average_precision"]

    return score


def once(provider: str, definition: str, profiles: int) -> dict[str, float]:
    """Score once and measure; the peak is that of the process, so nothing may come before."""
    score = {OURS: ours, RIVAL: copairs}[provider]()
    embedding, table = workload(profiles)
    before, start, busy = _held_mib(), time.perf_counter(), time.process_time()
    scores = score(embedding, table, definition)
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    treatments = float(scores[scores.index != 0].mean())
    return {"s": taken, "cpu_s": busy, "mib": _peak_mib() - before, "map": treatments}


def _held_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def row(
    provider: str, definition: str, profiles: int, rounds: int, folder: Path | None
) -> dict[str, object]:
    """Score in fresh processes and take the middle of the rounds."""
    command = [sys.executable, __file__, "--once", provider, definition, str(profiles)]
    if folder is not None:
        command += ["--copairs", str(folder)]
    told = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(rounds)
    ]
    times = sorted(one["s"] for one in told)
    spread = {f"p{p}_s": times[round(p / 100 * (rounds - 1))] for p in (20, 80)}
    return {
        "definition": definition,
        "provider": provider,
        "profiles": profiles,
        "dimensions": DIMENSIONS,
        "null_size": NULL_SIZE,
        "mean_average_precision": told[0]["map"],
        "median_s": statistics.median(times),
        **spread,
        "rounds": rounds,
        "cpu_s": statistics.median(one["cpu_s"] for one in told),
        "peak_mib": max(one["mib"] for one in told),
        **machine("cpu"),
        "numpy": np.__version__,
        "commit": kept_rows.current_commit(),
    }


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Write a line for each row, and how many times ours takes what the rival beside it takes."""
    lines = [
        "| definition | profiles | provider | s | CPU s | MiB | mAP |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['definition']} | {r['profiles']} | {r['provider']} | {r['median_s']:.2f} "
        f"| {r['cpu_s']:.2f} | {r['peak_mib']:.0f} | {r['mean_average_precision']:.6f} |"
        for r in rows
    ]
    by_key = {tuple(r[name] for name in KEY): r for r in rows}
    for (definition, profiles, provider), r in by_key.items():
        rival = by_key.get((definition, profiles, RIVAL))
        if provider == OURS and rival is not None:
            faster = rival["median_s"] / r["median_s"]
            smaller = rival["peak_mib"] / r["peak_mib"]
            lines.append(f"{definition}: {faster:.1f} times as fast, 1/{smaller:.1f} of the memory")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copairs", type=Path, help="folder that copairs is installed in")
    parser.add_argument("--scale", action="store_true", help="100 000 profiles, ours alone")
    parser.add_argument("--profiles", type=int, help="other than 5 000, or 100 000 for --scale")
    parser.add_argument("--definitions", nargs="+", default=DEFINITIONS, choices=DEFINITIONS)
    parser.add_argument("--rounds", type=int, default=3, help="of each; one for --scale")
    parser.add_argument("--results", type=Path, default=kept_rows.RESULTS, help="folder of rows")
    parser.add_argument("--once", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        if asked.copairs:
            sys.path.append(str(asked.copairs))
        provider, definition, profiles = asked.once
        print(json.dumps(once(provider, definition, int(profiles))))
        return
    profiles = asked.profiles or (100_000 if asked.scale else 5_000)
    rounds = 1 if asked.scale else asked.rounds
    providers = (OURS,) if asked.scale else (OURS, RIVAL)
    rows = [
        row(provider, definition, profiles, rounds, asked.copairs)
        for definition in asked.definitions
        for provider in providers
    ]
    print(report(rows))
    path = kept_rows.path_for("retrieval", machine("cpu")["device"], asked.results)
    old = kept_rows.read(path) if path.exists() else []
    kept_rows.write(path, FIELDS, kept_rows.joined(old, rows, KEY))


if __name__ == "__main__":
    main()
