"""What verdicts say of encoders whose true difference is known: how often they are wrong.

Usage: python benchmarks/verdicts_of_equal_encoders.py [--runs 300] [--only KIND ...] [--gaps]
[--results FOLDER]

Worlds are drawn anew for every run: groups of items with balanced labels; an embedding is the
signal, effects of the groups, and noise. Encoders and controls are drawn in the same way, so that
the true difference of equally strong ones is exactly zero, and `zoo.evaluate` judges the first. A
row says how often equal encoders were told apart, how wide intervals are beside the true standard
deviation of the difference, and how often each verdict was given.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import kept_rows
import numpy as np
import pandas as pd
from machine import processor

import zoo
from zoo import plugin

DIMENSIONS = 16
CLASSES = {"dose": 6, "separation": 2}
STRENGTH = {"dose": 2.5, "separation": 2.5}
GROUP_EFFECT = 0.7
GROUPS = (6, 8, 12, 16, 32, 64)
KINDS = ("probe", "knn", "retrieval", "dose", "separation")
FIELDS = (
    *("kind", "metric", "groups", "items", "sizes", "correlation", "equal", "weaker", "gain"),
    *("runs", "gap", "sd", "width", "covered", "apart", "beats", "worse", "no_better"),
    *("undecided", "power", "processor", "commit"),
)
KEY = ("metric", "groups", "items", "sizes", "correlation", "equal", "weaker", "gain")


@dataclass(frozen=True)
class World:
    """Where encoders are compared.

    Parameters
    ----------
    kind
        Kind of the task.
    groups, items
        Independent groups, and the mean number of items in each.
    sizes
        ``"equal"`` groups, or ``"unequal"`` ones, of which the largest has nine times the items of
        the smallest.
    correlation
        Share of noise and of group effects that encoders have in common.
    equal, weaker
        Number of controls as strong as the encoder, and of weaker ones.
    gain
        How much stronger the encoder is than the equal controls, as a share of their strength.
    """

    kind: Literal["probe", "knn", "retrieval", "dose", "separation"]
    groups: int
    items: int = 12
    sizes: Literal["equal", "unequal"] = "equal"
    correlation: float = 0.0
    equal: int = 1
    weaker: int = 1
    gain: float = 0.0


def draw(world: World, rng: np.random.Generator) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Draw a table, and the embeddings of the encoder and of the controls."""
    counts = np.full(world.groups, world.items)
    if world.sizes == "unequal":
        counts = np.round(world.items * 3 ** np.linspace(-1, 1, world.groups) / 1.21).astype(int)
        counts = np.maximum(counts, 2)
    groups = np.repeat(np.arange(world.groups), counts)
    classes = CLASSES.get(world.kind, 4)
    # Labels take turns within a group, from a start of its own, so that few items are balanced too.
    start = rng.integers(classes, size=world.groups)
    label = (np.concatenate([np.arange(n) for n in counts]) + start[groups]) % classes
    signal = np.eye(DIMENSIONS)[label]
    if world.kind in CLASSES:
        signal = (label / (classes - 1) - 0.5)[:, None] * np.eye(DIMENSIONS)[0]
    shared = _errors(groups, world.groups, rng)
    strength = STRENGTH.get(world.kind, 1.5)
    strengths = {
        "encoder": strength * (1 + world.gain),
        **{f"equal-{i}": strength for i in range(world.equal)},
        **{f"weaker-{i}": strength * 0.5 for i in range(world.weaker)},
    }
    own, common = np.sqrt(1 - world.correlation), np.sqrt(world.correlation)
    found = {
        name: s * signal + common * shared + own * _errors(groups, world.groups, rng)
        for name, s in strengths.items()
    }
    return pd.DataFrame({"label": label, "group": groups}), found


def _errors(groups: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    effects = GROUP_EFFECT * rng.standard_normal((n, DIMENSIONS))
    return effects[groups] + rng.standard_normal((len(groups), DIMENSIONS))


@dataclass(frozen=True)
class Judged:
    """What one world gave in one score: the difference to the first control, and the verdict."""

    metric: str
    gap: float
    low: float
    high: float
    outcome: str
    power: float


def judged(world: World, seed: int) -> list[Judged]:
    """Draw a world and judge its encoder."""
    table, matrices = draw(world, np.random.default_rng([seed, world.groups, world.items]))
    task = zoo.Task(kind=world.kind, target="label", title="label")
    design = zoo.Design(label="label", group="group", tasks=(task,))
    controls = {
        name: plugin.Precomputed(name, lambda rows=rows: rows, "control", "statistics")
        for name, rows in matrices.items()
        if name != "encoder"
    }
    mine = zoo.Embeddings(matrices["encoder"], table, {"encoder": "encoder"})
    data = zoo.Dataset("world", table, None, None, controls, design)
    names = [f"precomputed:{name}" for name in controls]
    result = zoo.evaluate(mine, data, controls=names, permutations=19, seed=seed)
    found = []
    for row in result.rows:
        own, first, *_ = row.estimates.values()
        gap, verdict = own.minus(first), row.verdict
        found.append(
            Judged(row.metric, gap.value, gap.low, gap.high, verdict.outcome, verdict.power)
        )
    return found


def measure(world: World, runs: int) -> list[dict[str, object]]:
    """Judge many worlds, and return a row for each score."""
    scores = zip(*(judged(world, seed) for seed in range(runs)), strict=True)
    return [_row(world, score) for score in scores]


def _row(world: World, found: Sequence[Judged]) -> dict[str, object]:
    gaps, lows, highs = (np.array([getattr(f, k) for f in found]) for k in ("gap", "low", "high"))
    rates = {k: n / len(found) for k, n in Counter(f.outcome for f in found).items()}
    truth = 0.0 if world.gain == 0 else float(gaps.mean())
    return {
        **asdict(world),
        # As they are read again, for rows are told apart by them.
        "correlation": f"{world.correlation:g}",
        "gain": f"{world.gain:g}",
        "metric": found[0].metric,
        "runs": len(found),
        "gap": float(gaps.mean()),
        "sd": float(gaps.std(ddof=1)),
        "width": float((highs - lows).mean() / 3.92 / gaps.std(ddof=1)),
        "covered": float(((lows <= truth) & (truth <= highs)).mean()),
        "apart": float(((lows > 0) | (highs < 0)).mean()),
        "beats": rates.get("beats all controls", 0.0),
        "worse": rates.get("worse than", 0.0),
        "no_better": rates.get("no better than", 0.0),
        "undecided": rates.get("undecided", 0.0),
        "power": float(np.nanmean([f.power for f in found])),
        "processor": processor(),
        "commit": kept_rows.current_commit(),
    }


def equal_worlds(kind: str) -> Iterator[World]:
    """Worlds in which the encoder is as good as the best control."""
    for groups in GROUPS:
        yield World(kind, groups)
        yield World(kind, groups, sizes="unequal", correlation=0.5)
    for items in (2, 5, 30):
        yield World(kind, 12, items=items)
    yield World(kind, 12, correlation=0.5)
    yield World(kind, 12, equal=8, weaker=0)
    yield World(kind, 12, equal=1, weaker=9)


def better_worlds(kind: str) -> Iterator[World]:
    """Worlds in which the encoder is better, by more and more."""
    for groups in (8, 16, 32, 64):
        for gain in (0.02, 0.05, 0.1, 0.2, 0.4):
            yield World(kind, groups, gain=gain)


def main() -> None:
    """Draw the worlds and keep a row of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--gaps", action="store_true", help="planted differences in place of none")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=kept_rows.RESULTS)
    given = parser.parse_args()
    worlds = [w for k in given.only for w in (better_worlds(k) if given.gaps else equal_worlds(k))]
    path = given.results / "verdicts-of-equal-encoders.csv"
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        for rows in pool.map(partial(measure, runs=given.runs), worlds):
            old = kept_rows.read(path) if path.exists() else []
            kept_rows.write(path, FIELDS, kept_rows.joined(old, rows, KEY))
            for row in rows:
                rates = ("width", "covered", "apart", "beats", "worse", "no_better", "undecided")
                print(*(row[k] for k in KEY), end="  ")
                print(" ".join(f"{k} {row[k]:.3f}" for k in rates), flush=True)


if __name__ == "__main__":
    main()
