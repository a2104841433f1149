"""Whether scores hold on a compound, batch or cell line that was left out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import Question, answer
from ..metrics._probes import folds
from .study import FITTED, Study, scored

Array = NDArray[Any]


def domains(study: Study) -> Diagnostic:
    """Scores where a whole batch, compound or cell line was never seen in training."""
    findings: list[Finding] = []
    refused: list[str] = []
    said: list[str] = []
    design = study.design
    columns = dict.fromkeys((*design.domains, *((design.batch,) * bool(design.batch))))
    for column in columns:
        if column == design.group:
            refused.append(f"Every score already leaves a {column} out at a time.")
            continue
        for question in study.questions:
            if question.task.kind not in FITTED or question.task.target == column:
                continue
            values = study.metadata[column].astype(str).to_numpy()[question.items]
            inside, outside = _domain_splits(question, values)
            if len(outside) < 2:
                refused.append(
                    f"{question.task.title} ({question.task.kind}): fewer than two values of "
                    f"{column} can be left out, each with another to learn from."
                )
                continue
            tested = np.sort(np.concatenate([test for _, test in outside]))
            for name, matrix in study.matrices.items():
                rows = matrix[question.items]
                kept, left = (
                    answer(question, rows, splits=splits)[:1] for splits in (inside, outside)
                )
                more: dict[str, Any] = {"encoder": name, "seed": study.seed, "items": tested}
                within = scored(question, kept, condition=f"within a {column}", **more)
                across = scored(
                    question,
                    left,
                    condition=f"{column} left out",
                    reference=within.value,
                    reference_name=f"within a {column}",
                    **more,
                )
                findings += [within, across]
                if name == study.subject:
                    said.append(
                        f"{within.quantity}: {within.value:.2f} within a {column}, "
                        f"{across.value:.2f} for one never seen."
                    )
    if not columns:
        refused.append("The dataset names no batch, cell line or compound to leave out.")
    return Diagnostic(
        name="domains",
        title="Out of distribution",
        how_to_read=(
            "Trained on all values of a column but one and tested on that one, beside training "
            "on other groups with the same value. Classes or doses that occur in one value only "
            "stay in training."
        ),
        findings=tuple(findings),
        conclusions=tuple(said),
        not_computed=tuple(dict.fromkeys(refused)),
    )


def _domain_splits(
    question: Question, values: Array
) -> tuple[list[tuple[Array, Array]], list[tuple[Array, Array]]]:
    """Splits within each value and across values, testing the same items."""
    groups, truth = question.groups, question.truth
    varied = [v for v in np.unique(values) if len(np.unique(truth[values == v])) > 1]
    always = ~np.isin(values, varied)
    inside: list[tuple[Array, Array]] = []
    outside: list[tuple[Array, Array]] = []
    for value in varied:
        here = values == value
        units = np.unique(groups[here])
        apart = np.flatnonzero(~here & ~np.isin(groups, units))
        others_vary = np.isin(values[apart], varied).any()
        if len(units) < 2 or not others_vary or len(np.unique(truth[apart])) < 2:
            continue
        places = np.flatnonzero(here)
        outside.append((apart, places))
        for train, test in folds(groups[places]):
            others = np.flatnonzero(always & ~np.isin(groups, groups[places[test]]))
            inside.append((np.concatenate([places[train], others]), places[test]))
    return inside, outside
