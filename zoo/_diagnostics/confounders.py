"""Confounders: how well they can be read from an embedding, and scores without them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from .._images.measure import measure
from ..metrics._confounders import confounder_r_squared, confounding
from .study import Study


def confounds(study: Study) -> Diagnostic:
    """How well confounders can be read from an embedding, and what a score is without them."""
    columns, refused = _confounders(study)
    findings: list[Finding] = []
    said: list[str] = []
    for name, matrix in study.matrices.items() if columns else ():
        try:
            explained = confounder_r_squared(matrix, columns, study.groups)
        except ValueError as error:
            refused.append(f"{name}: {error}")
            continue
        for confounder, value in explained.items():
            findings.append(
                Finding(
                    encoder=name,
                    quantity=confounder,
                    condition="read from the embedding, R²",
                    value=value,
                    reference=0.0,
                    reference_name="the mean",
                    n_items=len(matrix),
                    n_groups=len(np.unique(study.groups)),
                    fitted_on="training folds",
                )
            )
        for question in study.questions:
            kind = {"dose": "regression", "separation": "classification"}
            kind |= {"probe": "classification"}
            if question.task.kind not in kind:
                continue
            here = {c: v[question.items] for c, v in columns.items()}
            here = {c: v for c, v in here.items() if np.ptp(v) > 0}
            regression = kind[question.task.kind] == "regression"
            metric = "R²" if regression else "probe, balanced accuracy"
            quantity = f"{question.task.title}, {metric}"
            try:
                found = confounding(
                    matrix[question.items],
                    question.truth.astype(float) if regression else question.truth,
                    here,
                    study.groups[question.items],
                    kind="regression" if regression else "classification",
                )
            except ValueError as error:
                refused.append(f"{quantity}, {name}: {error}")
                continue
            for condition, value in (
                ("raw", found.raw),
                ("residual", found.residual),
                ("confounders alone", found.confounders),
                ("partial gain", found.partial_gain),
            ):
                findings.append(
                    Finding(
                        encoder=name,
                        quantity=quantity,
                        condition=condition,
                        value=value,
                        n_items=len(question.items),
                        n_groups=len(np.unique(question.groups)),
                        fitted_on="training folds",
                    )
                )
            if name == study.subject and found.partial_gain <= 0:
                said.append(
                    f"{quantity}: {name} adds nothing to the confounders, which alone score "
                    f"{found.confounders:.2f}."
                )
    return Diagnostic(
        name="confounds",
        title="Confounders",
        how_to_read=(
            "R² of simple measurements as ridge regression reads them from the embedding, groups "
            "held out; then scores as they are, of what is left after regressing the confounders "
            "out, of the confounders alone, and what the embedding adds to them."
        ),
        findings=tuple(findings),
        conclusions=tuple(said),
        not_computed=tuple(dict.fromkeys(refused)),
    )


def _confounders(study: Study) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Numbers that should not matter, by name: columns of the table, and measured on images."""
    refused: list[str] = []
    table = pd.DataFrame(index=range(len(study.metadata)))
    for column in study.design.confounders:
        values = study.metadata[column]
        if not pd.api.types.is_numeric_dtype(values):
            # Rows of plates are letters; their order is their place.
            values = values.astype("category").cat.codes.where(values.notna())
        table[column] = values.to_numpy(dtype=float)
    if study.dataset.read is not None and len(study.metadata) == len(study.dataset):
        table = pd.concat([table, measure(study.dataset)], axis=1)
    for contender in study.contenders.values():
        if contender.spec.control == "structural":
            for wanted in ("count", "area share"):
                if wanted in contender.spec.columns and wanted not in table:
                    place = contender.spec.columns.index(wanted)
                    table[wanted] = contender.embeddings[0].matrix[:, place]
    kept: dict[str, NDArray[np.float64]] = {}
    unknown: dict[int, list[str]] = {}
    for name in map(str, table.columns):
        numbers = table[name].to_numpy(dtype=float)
        if (lacking := int((~np.isfinite(numbers)).sum())) > 0:
            unknown.setdefault(lacking, []).append(name)
        elif np.ptp(numbers) <= 0:
            refused.append(f"{name} is the same for all items.")
        else:
            kept[name] = numbers
    for lacking, names in unknown.items():
        verb, items = "is" if len(names) == 1 else "are", "item" if lacking == 1 else "items"
        refused.append(
            f"{', '.join(names)} {verb} unknown for {lacking} {items} and not regressed out."
        )
    if not kept:
        refused.append("There is no confounder to look for.")
    return kept, refused
