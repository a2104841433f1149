"""Learning curves: scores by the number of training groups."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import Question, score_task
from ..metrics._probes import folds
from .study import FITTED, Study, scored

Array = NDArray[Any]
REPEATS = 3


def learning(study: Study) -> Diagnostic:
    """Score readouts trained on increasing numbers of groups."""
    findings: list[Finding] = []
    not_computed: list[str] = []
    seen: set[str] = set()
    rng = np.random.default_rng(study.seed)
    for question in study.questions:
        if question.task.kind not in FITTED or question.task.kind in seen:
            continue
        seen.add(question.task.kind)
        units = len(np.unique(question.groups))
        sizes = sorted({m for m in (1, 2, 4, 8, 16, 32) if m < units - 1} | {units - 1})
        if units < 3:
            not_computed.append(
                f"{question.task.title}: {units} groups are too few for a learning curve."
            )
            continue
        too_few = []
        for size in sizes:
            repeats = 1 if size == units - 1 else REPEATS
            drawn = [_few_groups(question, size, rng) for _ in range(repeats)]
            if any(splits is None for splits in drawn):
                too_few.append(str(size))
                continue
            for name, matrix in study.matrices.items():
                rows = matrix[question.items]
                scores = [score_task(question, rows, splits=splits)[0] for splits in drawn]
                findings.append(
                    scored(
                        question,
                        scores,
                        encoder=name,
                        condition=f"{size} {study.design.group}{'s' * (size > 1)}",
                        at=size,
                        seed=study.seed,
                        fitted_on=f"{size} of {units - 1} other groups",
                    )
                )
        if too_few:
            not_computed.append(
                f"{question.task.title} ({question.task.kind}): some random choices of "
                f"{', '.join(too_few)} {study.design.group}{'s' * (too_few != ['1'])} for training "
                f"have a single value of {question.task.target}."
            )
    return Diagnostic(
        name="learning",
        title="Learning curves",
        how_to_read=(
            f"Scores by the number of {study.design.group}s used for training, mean over {REPEATS} "
            "random choices. An advantage with few labels is worth more than the same score "
            "reached with many."
        ),
        findings=tuple(findings),
        not_computed=tuple(not_computed),
        view="curves",
        unit=f"{study.design.group}s",
        scores_again=True,
    )


def _few_groups(
    question: Question, size: int, rng: np.random.Generator
) -> list[tuple[Array, Array]] | None:
    """Return folds with `size` training groups, or None if one has a single class."""
    splits = []
    for train, test in folds(question.groups):
        units = np.unique(question.groups[train])
        chosen = rng.choice(units, min(size, len(units)), replace=False)
        few = train[np.isin(question.groups[train], chosen)]
        if len(np.unique(question.truth[few])) < 2:
            return None
        splits.append((few, test))
    return splits
