"""How often the verdict praises an encoder whose labels were permuted: it may in 5 % at most.

Usage: python benchmarks/verdict_of_permuted_labels.py [--seeds 100] [--encoder NAME]
[--dataset NAME --data FOLDER] [--out FILE.csv]

Images are embedded once. For every seed labels change places within their group, all tasks are
asked of the new labels, and the encoder is judged beside the usual controls exactly as
`zoo.evaluate` does.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

import zoo
from zoo._data.dataset import Dataset
from zoo._data.sources import load_dataset
from zoo._embedding.cache import EmbeddingCache
from zoo._evaluation.contenders import contend
from zoo._evaluation.scoring import score
from zoo._evaluation.tasks import ask


def permuted(dataset: Dataset, seed: int) -> pd.DataFrame:
    """Give every target column to other items of the same group, all columns together."""
    assert dataset.spec is not None
    targets = sorted(
        {t.target for t in dataset.spec.design.tasks}
        | {c for t in dataset.spec.design.tasks for c in t.where}
    )
    rng = np.random.default_rng([seed, 5])
    table = dataset.metadata.copy()
    for members in table.groupby(dataset.spec.design.group).indices.values():
        table.loc[table.index[members], targets] = table[targets].to_numpy()[
            rng.permutation(members)
        ]
    return table.astype(dataset.metadata.dtypes)


def main() -> None:
    """Count the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--encoder", default="chadavit-untrained")
    parser.add_argument("--dataset", default="phantom")
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    dataset = load_dataset(given.dataset, given.data)
    assert dataset.spec is not None
    contenders, _ = contend(zoo.load(given.encoder), dataset, cache=EmbeddingCache())
    outcomes: Counter[tuple[str, str]] = Counter()
    praised = 0
    with threadpool_limits(1):
        for seed in range(given.seeds):
            table = permuted(dataset, seed)
            questions = [
                ask(task, table, dataset.spec.design.group) for task in dataset.spec.design.tasks
            ]
            rows = score(questions, contenders, seed)
            won = [r.verdict.outcome == "beats all controls" for r in rows]
            praised += any(won)
            outcomes.update((f"{r.task}, {r.metric}", r.verdict.outcome) for r in rows)
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
            for (name, outcome), count in sorted(outcomes.items())
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
