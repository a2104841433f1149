"""Generalisation: scores on held-out batches, compounds or cell lines."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import Question, score_task
from ..metrics._probes import folds
from .study import FITTED, Study, scored

Array = NDArray[Any]


def domains(study: Study) -> Diagnostic:
    """Score each batch, compound or cell line with a model trained on the others."""
    findings: list[Finding] = []
    not_computed: list[str] = []
    conclusions: list[str] = []
    design = study.design
    columns = dict.fromkeys((*design.domains, *((design.batch,) * bool(design.batch))))
    for column in columns:
        if column == design.group:
            not_computed.append(f"All scores are leave-one-{column}-out already.")
            continue
        for question in study.questions:
            if question.task.kind not in FITTED or question.task.target == column:
                continue
            values = study.metadata[column].astype(str).to_numpy()[question.items]
            inside, outside = _domain_splits(question, values)
            if len(outside) < 2:
                not_computed.append(
                    f"{question.task.title} ({question.task.kind}): fewer than two values of "
                    f"{column} can be held out, because the others leave too little training data."
                )
                continue
            tested = np.sort(np.concatenate([test for _, test in outside]))
            for name, matrix in study.matrices.items():
                rows = matrix[question.items]
                kept, left = (
                    score_task(question, rows, splits=splits)[:1] for splits in (inside, outside)
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
                    conclusions.append(
                        f"{within.quantity}: {within.value:.2f} within a {column}, "
                        f"{across.value:.2f} on a held-out one."
                    )
    if not columns:
        not_computed.append("The design names no batch, cell line or compound to hold out.")
    return Diagnostic(
        name="domains",
        title="Generalisation to held-out batches, lines or compounds",
        how_to_read=(
            "Leave-one-out scores over the values of a column (left out), compared with training "
            "on other groups of the same value (within). Values with a single class or dose are "
            "used for training only."
        ),
        findings=tuple(findings),
        conclusions=tuple(conclusions),
        not_computed=tuple(dict.fromkeys(not_computed)),
    )


def _domain_splits(
    question: Question, values: Array
) -> tuple[list[tuple[Array, Array]], list[tuple[Array, Array]]]:
    """Return splits within each value and across values, with the same test items."""
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
