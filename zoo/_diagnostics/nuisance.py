"""What of an embedding is nuisance: confounders and batches."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from .._images.measure import measure
from ..metrics._confounders import confounder_r_squared, confounding
from ..metrics._mixing import confounding as confounded_design
from ..metrics._mixing import mixing
from ..metrics._neighbours import nearest_neighbours
from ..metrics._robustness import croma, robustness_index
from .study import Study

NEIGHBOURS = 90


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
                    contender=name,
                    quantity=confounder,
                    condition="read from the embedding, R²",
                    value=value,
                    reference=0.0,
                    beside="the mean",
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
                        contender=name,
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
        "confounds",
        "Confounders",
        "R² of simple measurements as ridge regression reads them from the embedding, groups held "
        "out; then scores as they are, of what is left after regressing the confounders out, of "
        "the confounders alone, and what the embedding adds to them.",
        tuple(findings),
        tuple(said),
        tuple(dict.fromkeys(refused)),
    )


def _confounders(study: Study) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Numbers that should not matter, by name: columns of the table, and measured on images."""
    refused: list[str] = []
    table = pd.DataFrame(index=range(len(study.metadata)))
    for column in study.spec.confounders:
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


def robustness(study: Study) -> Diagnostic:
    """Whether neighbours share biology or batch."""
    labels, batches, known, refused = _design(study)
    findings: list[Finding] = []
    for name, matrix in study.matrices.items() if not refused else ():
        rows = matrix[known]
        k = min(NEIGHBOURS, len(rows) - 1, _smallest_class(labels))
        indices, _ = nearest_neighbours(rows, k)
        index = robustness_index(indices, labels, batches)
        margins = croma(rows, labels, batches, m=min(5, _smallest_class(labels)))
        more: dict[str, Any] = {
            "contender": name,
            "n_items": len(rows),
            "n_groups": len(np.unique(batches)),
        }
        findings += [
            Finding(
                quantity="robustness index",
                value=index.value,
                reference=index.expected_by_design,
                beside="expected of random neighbours",
                note=f"{k} neighbours, support {index.support} of {index.neighbours}",
                **more,
            ),
            Finding(
                quantity="CRoMa, median",
                value=margins.median,
                reference=0.0,
                beside="neither nearer",
                note=f"{margins.items} items with a margin",
                **more,
            ),
            Finding(quantity="CRoMa, worst tenth", value=margins.worst_tenth, **more),
            Finding(quantity="CRoMa, share at most 0", value=margins.share_not_positive, **more),
        ]
    return Diagnostic(
        "robustness",
        "Robustness to batches",
        "Among near neighbours, those of the same biology in another batch against those of other "
        "biology in the same batch. The index has no fixed chance level: read it beside what is "
        "expected. CRoMa is above 0 where biology is nearer than batch.",
        tuple(findings),
        (),
        tuple(refused),
    )


def mixed(study: Study) -> Diagnostic:
    """How well batches mix, always beside how well biology is kept."""
    labels, batches, known, refused = _design(study)
    findings: list[Finding] = []
    for name, contender in study.contenders.items() if not refused else ():
        rows = contender.embeddings[0].matrix[known]
        k = min(NEIGHBOURS, len(rows) - 1)
        found = mixing(rows, labels, batches, *nearest_neighbours(rows, k))
        for condition, scores in (
            ("batches mixed", found.batch),
            ("biology kept", found.biology),
        ):
            findings += [
                Finding(
                    contender=name,
                    quantity=quantity,
                    condition=condition,
                    value=value,
                    n_items=len(rows),
                    n_groups=len(np.unique(batches)),
                )
                for quantity, value in scores.items()
            ]
    claim = confounded_design(labels, batches) if len(labels) else None
    if claim is not None:
        refused.append(claim)
    return Diagnostic(
        "mixing",
        "Batch mixing and conservation",
        "From 0 to 1, higher is more mixed or better kept. Noise mixes best by construction, so "
        "mixing says nothing but beside the biology that is kept.",
        tuple(findings),
        (),
        tuple(refused),
    )


def _design(
    study: Study,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_], list[str]]:
    """Biology and batch of the items that have both, and why they cannot be compared, if so."""
    label, batch = study.spec.label, study.batch
    table = study.metadata
    known = (table[label].notna() & table[batch].notna()).to_numpy()
    labels = table[label][known].astype(str).to_numpy()
    batches = table[batch][known].astype(str).to_numpy()
    refused = []
    for column, values in ((label, labels), (batch, batches)):
        if len(np.unique(values)) < 2:
            refused.append(f"There is one value of {column} only: nothing to tell apart.")
    return labels, batches, known, refused


def _smallest_class(labels: NDArray[Any]) -> int:
    """Others of its label that an item of the rarest label has, 1 at least."""
    return max(1, int(np.unique(labels, return_counts=True)[1].min()) - 1)
