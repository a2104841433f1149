"""Answer every question with every embedding, and judge the answers of one."""

from collections.abc import Mapping, Sequence

import numpy as np

from .._embedding.embeddings import Embeddings
from .bootstrap import estimate, resamples
from .contenders import Contender
from .scorecard import Row
from .tasks import Question, answer
from .verdict import judge, permutations_for


def doubts(embeddings: Embeddings, group: str) -> tuple[str, ...]:
    """Say what a reader must know of the rows before any score: repeats, and repeats in folds."""
    _, first, counts = np.unique(embeddings.matrix, axis=0, return_inverse=True, return_counts=True)
    repeated = counts[first.reshape(-1)] > 1
    if not repeated.any():
        return ()
    groups = embeddings.metadata[group].astype(str).to_numpy()
    pairs = {(row, g) for row, g in zip(first.reshape(-1)[repeated], groups[repeated], strict=True)}
    rows = [row for row, _ in pairs]
    said = [f"{int(repeated.sum())} of {len(repeated)} items have the very embedding of another."]
    if (torn := len(rows) - len(set(rows))) > 0:
        said.append(
            f"{torn} time(s) such twins lie in different {group}s, so that training and test folds "
            "share them: if the images are copies, the scores are too high."
        )
    return tuple(said)


def score(
    questions: Sequence[Question], contenders: Mapping[str, Contender], seed: int
) -> list[Row]:
    """Answer every question with every embedding, and judge the first contender's answers."""
    subject = next(iter(contenders))
    rows: list[Row] = []
    for question in questions:
        draws = resamples(question.groups, seed=seed)
        n_groups = len(np.unique(question.groups))
        permutations = permutations_for(question)
        answers = {
            name: [
                answer(
                    question,
                    e.matrix[question.items],
                    permutations=permutations if name == subject else 0,
                    seed=seed,
                )
                for e in contender.embeddings
            ]
            for name, contender in contenders.items()
        }
        for k, first in enumerate(answers[subject][0]):
            estimates = {
                name: estimate([scores[k] for scores in members], draws, question)
                for name, members in answers.items()
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
