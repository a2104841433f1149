"""All metrics of neighbourhoods on 100 000 profiles in one process: time, memory and a check.

``python benchmarks/bench_profiles.py`` draws profiles with planted labels and batches, takes each
metric with two threads, checks some items against a plain loop, and keeps a row for each in
``benchmarks/results``. ``--device cuda`` searches on a GPU. Memory is the peak of the process, its
libraries included, up to the end of the step.
"""

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import kept_rows
import numpy as np
import pandas as pd
import scipy
from bench_retrieval import DEFINITIONS, DIMENSIONS, NULL_SIZE, pairs_of, workload
from machine import machine
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from zoo.metrics import (
    balanced_accuracy,
    clisi,
    ilisi,
    lisi,
    macro_f1,
    majority_vote,
    mean_average_precision,
    nearest_neighbours,
    silhouette_samples,
)

NEIGHBOURS = 90
VOTERS = (1, 5, 20)
BATCH_EFFECT = 0.1
CHECKED = 40
SECONDS, MIB = 600, 2048
KEY = ("what", "profiles", "device")
FIELDS = (
    *("what", "profiles", "dimensions", "value", "difference", "wall_s", "cpu_s", "peak_mib"),
    *("device", "driver", "threads", "numpy", "scipy", "torch", "commit"),
)
Step = Callable[[], float]


def plates(profiles: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw weakly separate labels, of which plates shift all profiles a little."""
    embedding, table = workload(profiles)
    rng = np.random.default_rng(1)
    shifts = rng.standard_normal((int(table["plate"].max()) + 1, DIMENSIONS), dtype=np.float32)
    for at, plate in enumerate(table["plate"]):
        embedding[at] += BATCH_EFFECT * shifts[plate]
    return embedding, table


class Suite:
    """The metrics on one embedding, each with the loop that some of its items are checked by."""

    def __init__(self, embedding: np.ndarray, table: pd.DataFrame, device: str | None) -> None:
        self.embedding, self.table, self.device = embedding, table, device
        self.label, self.plate = table["label"].to_numpy(), table["plate"].to_numpy()
        self.k = min(NEIGHBOURS, len(table) - 1)
        self.some = np.random.default_rng(2).permutation(len(table))[:CHECKED]
        self.found: dict[str, Any] = {}

    def steps(self) -> dict[str, tuple[Step, Step]]:
        """Return for each step what computes its value, and its difference from a loop."""
        steps: dict[str, tuple[Step, Step]] = {
            f"{self.k} nearest neighbours": (self.neighbours, self.check_neighbours),
            "kNN classification": (self.votes, self.check_votes),
        }
        for name in DEFINITIONS:
            steps[f"retrieval, {name}"] = (
                lambda name=name: self.retrieval(name),
                lambda name=name: self.check_retrieval(name),
            )
        for name in ("label", "plate"):
            steps[f"silhouette, {name}"] = (
                lambda name=name: self.silhouette(name),
                lambda name=name: self.check_silhouette(name),
            )
            steps[f"LISI, {name}"] = (
                lambda name=name: self.lisi(name),
                lambda name=name: self.check_lisi(name),
            )
        return steps

    def cosines(self, item: int) -> np.ndarray:
        rows, query = self.embedding, self.embedding[item].astype(float)
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=float))
        return rows @ query / lengths / np.sqrt(query @ query)

    def neighbours(self) -> float:
        self.near = nearest_neighbours(self.embedding, self.k, device=self.device)
        return float(self.near[1].mean())

    def check_neighbours(self) -> float:
        worst = 0.0
        for item in self.some:
            far = 1 - self.cosines(item)
            far[item] = np.inf
            wanted = np.argsort(far, kind="stable")[: self.k]
            same = set(wanted.tolist()) == set(self.near[0][item].tolist())
            worst = max(worst, np.abs(far[wanted] - self.near[1][item]).max() if same else np.inf)
        return float(worst)

    def votes(self) -> float:
        scores = []
        for k in VOTERS:
            self.predicted = majority_vote(self.near[0], self.label, k=min(k, self.k))
            scores.append(balanced_accuracy(self.label, self.predicted))
            scores.append(macro_f1(self.label, self.predicted))
        return max(scores[::2])

    def check_votes(self) -> float:
        wrong = 0
        for item in self.some:
            voted = self.label[self.near[0][item][: VOTERS[-1]]].tolist()
            wrong += self.predicted[item] != max(voted, key=lambda name: voted.count(name))
        return wrong / len(self.some)

    def retrieval(self, name: str) -> float:
        pairs = pairs_of(name)
        found = mean_average_precision(
            self.embedding, self.table, pairs, null_size=NULL_SIZE, device=self.device
        )
        self.found[name] = found.profiles["average_precision"].to_numpy()
        return float(found.groups["mean_average_precision"].mean())

    def check_retrieval(self, name: str) -> float:
        worst = 0.0
        for item in self.some:
            sought = self.label == self.label[item]
            others = ~sought
            if name == "controls":
                others &= self.table["control"].to_numpy() & (self.plate == self.plate[item])
            elif name == "across batches":
                sought &= self.plate != self.plate[item]
                others &= np.isin(self.plate, self.plate[sought]) & (self.plate != self.plate[item])
            sought[item] = False
            ranked = sought | others
            wanted = np.nan
            if sought.any() and others.any():
                wanted = average_precision_score(sought[ranked], self.cosines(item)[ranked])
            if not (np.isnan(wanted) and np.isnan(self.found[name][item])):
                worst = max(worst, abs(wanted - self.found[name][item]))
        return float(worst)

    def silhouette(self, name: str) -> float:
        self.found[f"silhouette, {name}"] = samples = silhouette_samples(
            self.embedding, self.table[name].to_numpy()
        )
        return float(samples.mean())

    def check_silhouette(self, name: str) -> float:
        groups, worst = self.table[name].to_numpy(), 0.0
        sizes = np.bincount(groups)
        for item in self.some:
            far = 1 - self.cosines(item)
            far[item] = 0
            own, sums = groups[item], np.bincount(groups, far)
            if sizes[own] > 1:
                within = sums[own] / (sizes[own] - 1)
                beyond = np.delete(sums / sizes, own).min()
                wanted = (beyond - within) / max(beyond, within)
                worst = max(worst, abs(wanted - self.found[f"silhouette, {name}"][item]))
        return float(worst)

    def lisi(self, name: str) -> float:
        groups = self.table[name].to_numpy()
        self.found[f"LISI, {name}"] = index = lisi(*self.near, groups)
        return (clisi if name == "label" else ilisi)(index, groups)

    def check_lisi(self, name: str) -> float:
        groups, worst = self.table[name].to_numpy(), 0.0
        for item in self.some:
            near, far = self.near[0][item], self.near[1][item]

            def weights(log_beta: float, far: np.ndarray = far) -> np.ndarray:
                weight = np.exp(-np.exp(log_beta) * (far - far.min()))
                return weight / weight.sum()

            def excess(log_beta: float, weights: Any = weights) -> float:
                kept = weights(log_beta)[weights(log_beta) > 0]
                return float(-(kept * np.log(kept)).sum() - np.log(self.k // 3))

            shares = np.bincount(groups[near], weights(brentq(excess, -20, 20, xtol=1e-13)))
            wanted = 1 / (shares**2).sum()
            worst = max(worst, abs(wanted - self.found[f"LISI, {name}"][item]))
        return float(worst)


def measured(step: Step) -> dict[str, float]:
    """Take one step."""
    start, busy = time.perf_counter(), time.process_time()
    value = step()
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"value": value, "wall_s": taken, "cpu_s": busy, "peak_mib": peak}


def run(profiles: int, device: str | None, threads: int) -> list[dict[str, Any]]:
    """Take all steps and check them afterwards; the last row is all of them together."""
    with threadpool_limits(threads):
        suite = Suite(*plates(profiles), device)
        rows, more = [], {"profiles": profiles, "dimensions": DIMENSIONS}
        steps = suite.steps()
        for what, (take, _) in steps.items():
            rows.append({"what": what, **more, **measured(take)})
        checks = {what: check() for what, (_, check) in steps.items()}
    for row in rows:
        row["difference"] = checks[row["what"]]
    sums = {name: sum(row[name] for row in rows) for name in ("wall_s", "cpu_s")}
    together = {"what": "all", **more, **sums, "peak_mib": max(row["peak_mib"] for row in rows)}
    together |= {"value": None, "difference": max(checks.values())}
    known = machine("cpu" if device is None else device) | {
        "threads": threads,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "commit": kept_rows.current_commit(),
    }
    return [row | known for row in (*rows, together)]


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Write a line for each row, and whether all together are within the limits."""
    lines = [
        "| what | value | differs by | s | CPU s | peak MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        value = "" if r["value"] is None else f"{r['value']:.4f}"
        lines.append(
            f"| {r['what']} | {value} | {r['difference']:.1g} | {r['wall_s']:.1f} "
            f"| {r['cpu_s']:.1f} | {r['peak_mib']:.0f} |"
        )
    total = rows[-1]
    within = total["wall_s"] <= SECONDS and total["peak_mib"] <= MIB
    lines.append(
        f"{total['profiles']} profiles × {total['dimensions']}: {'within' if within else 'BEYOND'} "
        f"{SECONDS} s and {MIB} MiB"
    )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--device", choices=("cuda",), help="where neighbours are searched")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=kept_rows.RESULTS, help="folder of rows")
    asked = parser.parse_args()
    rows = run(asked.profiles, asked.device, asked.threads)
    print(report(rows))
    path = kept_rows.path_for("profiles", rows[0]["device"], asked.results)
    old = kept_rows.read(path) if path.exists() else []
    kept_rows.write(path, FIELDS, kept_rows.joined(old, rows, KEY))


if __name__ == "__main__":
    main()
