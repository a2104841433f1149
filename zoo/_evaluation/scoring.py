"""Score all tasks for all contenders, with a verdict on the encoder under test."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import nan

import numpy as np
from numpy.typing import NDArray

from zoo.registry import EvaluationError

from .._data.dataset import Dataset
from .._data.design import design_of
from ..metrics._threads import run_in_threads
from .contenders import Contender
from .intervals import estimate, resamples
from .margins import MARGINS, margin_of
from .scorecard import Row
from .tasks import Question, Score, distinct_labelings, pose_task, score_task
from .verdict import judge, permutations_for


def score(
    questions: Sequence[Question],
    contenders: Mapping[str, Contender],
    seed: int,
    *,
    margins: Mapping[str, float] = MARGINS,
    permutations: int | None = None,
) -> list[Row]:
    """Score every question for every contender, with a verdict on the first.

    `permutations` are by default as many as `permutations_for` allows.
    """
    subject = next(iter(contenders))
    rows: list[Row] = []
    for question in questions:
        draws = resamples(question.groups, seed=seed)
        n_groups = len(np.unique(question.groups))
        count = permutations_for(question) if permutations is None else permutations
        labelings = distinct_labelings(question)
        by_name = _answers(question, contenders, count, seed)
        for k, first in enumerate(by_name[subject][0]):
            estimates = {
                name: estimate([scores[k] for scores in members], question.groups, draws)
                for name, members in by_name.items()
            }
            others = {n: e for n, e in estimates.items() if n != subject}
            rows.append(
                Row(
                    task=question.task.title,
                    metric=first.metric,
                    chance=float(np.nanmean(first.null)),
                    estimates=estimates,
                    verdict=judge(
                        subject,
                        estimates[subject],
                        others,
                        first.null,
                        question.groups,
                        margin=margin_of(first.metric, margins),
                        labelings=labelings,
                    ),
                    n_items=len(question.items),
                    n_groups=n_groups,
                    permutations=len(first.null),
                    left_out=(*question.left_out, *([first.note] if first.note else [])),
                )
            )
    return rows


def _answers(
    question: Question, contenders: Mapping[str, Contender], permutations: int, seed: int
) -> dict[str, list[list[Score]]]:
    """Scores of every contender, for each of its seeds; permuted labels for the first."""
    subject = next(iter(contenders))
    found: dict[str, list[list[Score]]] = {name: [] for name in contenders}

    def answer(name: str) -> None:
        count = permutations if name == subject else 0
        for e in contenders[name].embeddings:
            matrix = e.matrix[question.items]
            found[name].append(score_task(question, matrix, permutations=count, seed=seed))

    # The matrices are small: contenders side by side take less than threads of linear algebra.
    run_in_threads(answer, contenders, None)
    return found


def without_copies(
    rows: Sequence[Row],
    copies: Sequence[NDArray[np.intp]],
    dataset: Dataset,
    contenders: Mapping[str, Contender],
    seed: int,
    *,
    margins: Mapping[str, float],
    permutations: int | None,
) -> list[Row]:
    """Withhold each claim to beat all controls that rests on copies in several groups.

    All copies but one of each set are left out, and what does not beat all controls then gets no
    verdict.
    """
    if not copies or all(r.verdict.outcome != "beats all controls" for r in rows):
        return list(rows)
    design = design_of(dataset)
    table = dataset.metadata.copy()
    again = np.concatenate([one[1:] for one in copies])
    table[design.group] = table[design.group].where(~table.index.isin(table.index[again]))
    left: dict[tuple[str, str], Row] = {}
    for task in design.tasks:
        with suppress(EvaluationError):  # too few items are left
            asked = [pose_task(task, table, design.group)]
            found = score(asked, contenders, seed, margins=margins, permutations=permutations)
            left |= {(r.task, r.metric): r for r in found}
    judged = []
    for row in rows:
        other = left.get((row.task, row.metric))
        if row.verdict.outcome == "beats all controls" and (
            other is None or other.verdict.outcome != "beats all controls"
        ):
            left_over = other.verdict.summary if other else "too few items are left"
            left_over = left_over.removeprefix("no verdict: ")
            words = f"no verdict: without copies in several {design.group}s, {left_over}"
            verdict = replace(
                row.verdict, outcome="no verdict", p_value=nan, summary=words, detail=words
            )
            row = replace(row, verdict=verdict)
        judged.append(row)
    return judged
