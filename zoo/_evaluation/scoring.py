"""Score all tasks for all contenders, with a verdict on the encoder under test."""

from collections.abc import Mapping, Sequence

import numpy as np

from .._embedding.embeddings import Embeddings
from .bootstrap import estimate, resamples
from .contenders import Contender
from .scorecard import Row
from .tasks import Question, score_task
from .verdict import judge, permutations_for


def duplicate_warnings(embeddings: Embeddings, group: str) -> tuple[str, ...]:
    """Warn of duplicate embeddings, and of duplicates in different groups."""
    _, first, counts = np.unique(embeddings.matrix, axis=0, return_inverse=True, return_counts=True)
    repeated = counts[first.reshape(-1)] > 1
    if not repeated.any():
        return ()
    groups = embeddings.metadata[group].astype(str).to_numpy()
    pairs = {(row, g) for row, g in zip(first.reshape(-1)[repeated], groups[repeated], strict=True)}
    rows = [row for row, _ in pairs]
    warnings = [
        f"{int(repeated.sum())} of {len(repeated)} items have the same embedding as another item."
    ]
    if (split := len(rows) - len(set(rows))) > 0:
        warnings.append(
            f"{split} time(s) such duplicates lie in different {group}s, so training and test "
            "folds share them: if the images are copies, the scores are too high."
        )
    return tuple(warnings)


def score(
    questions: Sequence[Question], contenders: Mapping[str, Contender], seed: int
) -> list[Row]:
    """Score every question for every contender, with a verdict on the first."""
    subject = next(iter(contenders))
    rows: list[Row] = []
    for question in questions:
        draws = resamples(question.groups, seed=seed)
        n_groups = len(np.unique(question.groups))
        permutations = permutations_for(question)
        by_name = {
            name: [
                score_task(
                    question,
                    e.matrix[question.items],
                    permutations=permutations if name == subject else 0,
                    seed=seed,
                )
                for e in contender.embeddings
            ]
            for name, contender in contenders.items()
        }
        for k, first in enumerate(by_name[subject][0]):
            estimates = {
                name: estimate([scores[k] for scores in members], draws, question)
                for name, members in by_name.items()
            }
            others = {n: e for n, e in estimates.items() if n != subject}
            rows.append(
                Row(
                    task=question.task.title,
                    metric=first.metric,
                    chance=float(np.nanmean(first.null)),
                    estimates=estimates,
                    verdict=judge(subject, estimates[subject], others, first.null, n_groups),
                    n_items=len(question.items),
                    n_groups=n_groups,
                    permutations=len(first.null),
                    left_out=(*question.left_out, *([first.note] if first.note else [])),
                )
            )
    return rows
