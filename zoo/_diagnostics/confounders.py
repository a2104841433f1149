"""Confounders: how well an embedding predicts them, and scores adjusted for them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from .._images.measure import measure
from ..metrics._confounders import confounder_r_squared, confounding
from .study import Study


def confounders(study: Study) -> Diagnostic:
    """Predict confounders from each embedding, and adjust scores for them."""
    columns, not_computed = _confounders(study)
    findings: list[Finding] = []
    conclusions: list[str] = []
    for name, matrix in study.matrices.items() if columns else ():
        try:
            explained = confounder_r_squared(matrix, columns, study.groups)
        except ValueError as error:
            not_computed.append(f"{name}: {error}")
            continue
        for confounder, value in explained.items():
            findings.append(
                Finding(
                    encoder=name,
                    quantity=confounder,
                    condition="predicted from the embedding, R²",
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
                not_computed.append(f"{quantity}, {name}: {error}")
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
                conclusions.append(
                    f"{quantity}: {name} adds nothing to the confounders, which score "
                    f"{found.confounders:.2f} alone."
                )
    return Diagnostic(
        name="confounds",
        title="Confounders",
        how_to_read=(
            "Cross-validated R² (grouped folds) of each confounder predicted from the embedding by "
            "ridge regression; then task scores of the raw embedding, of the embedding after "
            "regressing the confounders out (residual), of the confounders alone, and the gain of "
            "embedding and confounders over confounders (partial gain)."
        ),
        findings=tuple(findings),
        conclusions=tuple(conclusions),
        not_computed=tuple(dict.fromkeys(not_computed)),
    )


def _confounders(study: Study) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Collect confounders by name: columns of the table, and measurements of the images."""
    not_computed: list[str] = []
    table = pd.DataFrame(index=range(len(study.metadata)))
    for column in study.design.confounders:
        values = study.metadata[column]
        if not pd.api.types.is_numeric_dtype(values):
            # Rows of plates are letters, whose order is their position.
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
            not_computed.append(f"{name} is constant over all items.")
        else:
            kept[name] = numbers
    for lacking, names in unknown.items():
        verb, items = "is" if len(names) == 1 else "are", "item" if lacking == 1 else "items"
        not_computed.append(
            f"{', '.join(names)} {verb} missing for {lacking} {items} and not regressed out."
        )
    if not kept:
        not_computed.append("No confounders are available.")
    return kept, not_computed
