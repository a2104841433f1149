"""How often the verdict praises an encoder whose labels were permuted: it may in 5 % at most.

Usage: python benchmarks/verdict_of_permuted_labels.py [--seeds 100] [--encoder NAME]
[--dataset NAME --data FOLDER] [--control NAME ...] [--out FILE.csv]

Images are embedded once, with the encoder and with each control. For every seed labels change
places within their group, and `zoo.evaluate` judges the embeddings beside those of the controls.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import zoo
from zoo import plugin

CONTROLS = (
    "pixel-statistics",
    "object-density",
    "cell-structure",
    "untrained:resnet10t/concat",
)


def permuted(table: pd.DataFrame, design: zoo.Design, seed: int) -> pd.DataFrame:
    """Give every target column to other items of the same group, all columns together."""
    targets = sorted({c for task in design.tasks for c in (task.target, *task.where)})
    rng = np.random.default_rng([seed, 5])
    found = table.copy()
    for members in table.groupby(design.group).indices.values():
        found.loc[found.index[members], targets] = table[targets].to_numpy()[
            rng.permutation(members)
        ]
    return found.astype(table.dtypes)


def outcomes(
    dataset: zoo.Dataset, encoder: str, controls: Sequence[str], seeds: int
) -> tuple[Counter[tuple[str, str]], int]:
    """Count verdicts by score and outcome, and the seeds with one that beats all controls."""
    assert dataset.design is not None
    mine = zoo.embed(dataset, encoder)
    kept = {
        name: plugin.Precomputed(name, zoo.embed(dataset, name).numpy, "control", "statistics")
        for name in controls
    }
    counts: Counter[tuple[str, str]] = Counter()
    praised = 0
    for seed in range(seeds):
        table = permuted(dataset.metadata, dataset.design, seed)
        again = zoo.Dataset(dataset.name, table, None, None, kept, dataset.design)
        result = zoo.evaluate(replace(mine, metadata=table), again, seed=seed)
        counts.update((f"{r.task}, {r.metric}", r.verdict.outcome) for r in result.rows)
        praised += any(r.verdict.outcome == "beats all controls" for r in result.rows)
    return counts, praised


def main() -> None:
    """Count the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--encoder", default="chadavit-untrained")
    parser.add_argument("--dataset", default="phantom")
    parser.add_argument("--data")
    parser.add_argument("--control", action="append", help="in place of the usual")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    dataset = zoo.load_dataset(given.dataset, given.data)
    found, praised = outcomes(dataset, given.encoder, given.control or CONTROLS, given.seeds)
    table = pd.DataFrame(
        [
            {
                "encoder": given.encoder,
                "dataset": given.dataset,
                "score": name,
                "outcome": outcome,
                "count": count,
                "seeds": given.seeds,
            }
            for (name, outcome), count in sorted(found.items())
        ]
    )
    if given.out is not None:
        table.to_csv(given.out, index=False)
    total = table["count"].sum()
    wins = table["count"][table["outcome"] == "beats all controls"].sum()
    print(table.to_string(index=False))
    print(
        f"beats all controls: {wins} of {total} verdicts ({wins / total:.1%}); "
        f"in at least one score for {praised} of {given.seeds} seeds"
    )


if __name__ == "__main__":
    main()
