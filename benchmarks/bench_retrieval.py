"""Replicate retrieval beside copairs: time, memory and agreement, each in a process of its own.

``python benchmarks/bench_retrieval.py --copairs FOLDER`` compares at 5 000 profiles, where FOLDER
is what ``pip install --target FOLDER copairs`` filled; ``--scale`` times ours alone at 100 000.
Rounds of both take turns, each in a fresh process that has scored a few profiles before. Memory is
the peak beyond what the process held then; the whole peak stands beside it.

Agreement is the largest difference of the mean average precision of a label, and of its p-value in
standard errors of two nulls. copairs rounds similarities to float32 and so misses the order of
some; told to keep float64, it has no other way to differ, and that difference is kept too.
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
from types import ModuleType
from typing import Any

import kept_rows
import numpy as np
import pandas as pd
from machine import machine

OURS, RIVAL = "zoo", "copairs"
EXACT = "copairs in float64"
WARM_UP = 200
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
        "process_mib",
        "difference",
        "difference_float64",
        "p_value_errors",
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
Scores = Callable[[np.ndarray, pd.DataFrame, str], pd.DataFrame]
SCORES = ["mean_average_precision", "p_value"]


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


def pairs_of(definition: str) -> Any:
    """Return our pairs of a definition, on the columns of `workload`."""
    from zoo.metrics import across_batches, any_negatives, control_negatives

    return {
        "any": any_negatives("label"),
        "controls": control_negatives("label", "plate", "control"),
        "across batches": across_batches("label", "plate"),
    }[definition]


def ours() -> Scores:
    """Return scores of treatments by this package."""
    from zoo.metrics import mean_average_precision

    def score(embedding: np.ndarray, table: pd.DataFrame, definition: str) -> pd.DataFrame:
        pairs = pairs_of(definition)
        found = mean_average_precision(embedding, table, pairs, null_size=NULL_SIZE)
        return found.groups[SCORES]

    return score


def copairs() -> Scores:
    """Return scores by copairs, whose cache is a folder of its own and not the home directory."""
    from copairs.map import average_precision, mean_average_precision

    def score(embedding: np.ndarray, table: pd.DataFrame, definition: str) -> pd.DataFrame:
        kinds = table.assign(control=table["control"].astype(int))
        conditions = CONDITIONS[definition]
        profiles = average_precision(kinds, embedding, *conditions, progress_bar=False)
        settings: dict[str, Any] = {"null_size": NULL_SIZE, "threshold": 0.05, "seed": 0}
        with tempfile.TemporaryDirectory() as cache:
            settings |= {"progress_bar": False, "cache_dir": cache}
            groups = mean_average_precision(profiles, ["label"], **settings)
        return groups.set_index("label")[SCORES]

    return score


def copairs_in_float64() -> Scores:
    """Return scores by copairs where what it writes in float32 is kept in float64."""
    from copairs import compute

    class Wide(ModuleType):
        float32 = np.float64

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    compute.np = Wide("numpy")
    return copairs()


def once(provider: str, definition: str, profiles: int) -> dict[str, Any]:
    """Score once and measure; the peak is that of the process, so nothing larger may come before.

    Float64 profiles spare each the conversion.
    """
    score = {OURS: ours, RIVAL: copairs, EXACT: copairs_in_float64}[provider]()
    few, kinds = workload(WARM_UP)
    score(few.astype(np.float64), kinds, definition)
    embedding, table = workload(profiles)
    embedding = embedding.astype(np.float64)
    before, start, busy = _held_mib(), time.perf_counter(), time.process_time()
    scores = score(embedding, table, definition)
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    treatments = scores[scores.index != 0].sort_index()
    return {
        "s": taken,
        "cpu_s": busy,
        "mib": _peak_mib() - before,
        "process_mib": _peak_mib(),
        **{name: treatments[name].tolist() for name in SCORES},
    }


def agreement(ours: dict[str, Any], rival: dict[str, Any]) -> tuple[float, float]:
    """Return the largest difference of mAP, and of p-values in standard errors of two nulls."""
    precision, p = (np.array([one[name] for one in (ours, rival)]) for name in SCORES)
    level = np.clip(p.mean(0), 1 / NULL_SIZE, 1 - 1 / NULL_SIZE)
    errors = np.abs(p[0] - p[1]) / np.sqrt(2 * level * (1 - level) / NULL_SIZE)
    return float(np.abs(precision[0] - precision[1]).max()), float(errors.max())


def _held_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def told(provider: str, definition: str, profiles: int, folder: Path | None) -> dict[str, Any]:
    """Score once in a fresh process."""
    command = [sys.executable, __file__, "--once", provider, definition, str(profiles)]
    if folder is not None:
        command += ["--copairs", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    one: dict[str, Any] = json.loads(done.stdout)
    return one


def rows_of(
    definition: str, profiles: int, rounds: int, folder: Path | None, providers: Sequence[str]
) -> list[dict[str, object]]:
    """Score by turns in fresh processes and take the middle of the rounds."""
    runs: dict[str, list[dict[str, Any]]] = {provider: [] for provider in providers}
    for _ in range(rounds):
        for provider in providers:
            runs[provider].append(told(provider, definition, profiles, folder))
    agreed: dict[str, float] = {}
    if RIVAL in runs:
        exact = told(EXACT, definition, profiles, folder)
        agreed["difference"], _ = agreement(runs[OURS][0], runs[RIVAL][0])
        agreed["difference_float64"], agreed["p_value_errors"] = agreement(runs[OURS][0], exact)
    known = machine("cpu") | {"numpy": np.__version__, "commit": kept_rows.current_commit()}
    rows = []
    for provider, ran in runs.items():
        times = sorted(one["s"] for one in ran)
        rows.append(
            {
                "definition": definition,
                "provider": provider,
                "profiles": profiles,
                "dimensions": DIMENSIONS,
                "null_size": NULL_SIZE,
                "mean_average_precision": float(np.mean(ran[0]["mean_average_precision"])),
                "median_s": statistics.median(times),
                **{f"p{p}_s": times[round(p / 100 * (rounds - 1))] for p in (20, 80)},
                "rounds": rounds,
                "cpu_s": statistics.median(one["cpu_s"] for one in ran),
                "peak_mib": max(one["mib"] for one in ran),
                "process_mib": max(one["process_mib"] for one in ran),
                **(agreed if provider == OURS else {}),
                **known,
            }
        )
    return rows


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
            lines.append(
                f"{definition}: {faster:.1f} times as fast, 1/{smaller:.1f} of the memory; mAP "
                f"differs by {r['difference']:.1g}, from copairs in float64 by "
                f"{r['difference_float64']:.1g}, p-values by {r['p_value_errors']:.1f} errors"
            )
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
        row
        for definition in asked.definitions
        for row in rows_of(definition, profiles, rounds, asked.copairs, providers)
    ]
    print(report(rows))
    path = kept_rows.path_for("retrieval", machine("cpu")["device"], asked.results)
    old = kept_rows.read(path) if path.exists() else []
    kept_rows.write(path, FIELDS, kept_rows.joined(old, rows, KEY))


if __name__ == "__main__":
    main()
