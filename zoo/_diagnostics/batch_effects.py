"""Batch effects: robustness, and mixing beside what is conserved."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._mixing import design_refusal, mixing
from ..metrics._neighbours import nearest_neighbours
from ..metrics._robustness import croma, robustness_index
from .study import Study

NEIGHBOURS = 90


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
            "encoder": name,
            "n_items": len(rows),
            "n_groups": len(np.unique(batches)),
        }
        findings += [
            Finding(
                quantity="robustness index",
                value=index.value,
                reference=index.expected_by_design,
                reference_name="expected of random neighbours",
                note=f"{k} neighbours, support {index.support} of {index.neighbours}",
                **more,
            ),
            Finding(
                quantity="CRoMa, median",
                value=margins.median,
                reference=0.0,
                reference_name="neither nearer",
                note=f"{margins.items} items with a margin",
                **more,
            ),
            Finding(quantity="CRoMa, worst tenth", value=margins.worst_tenth, **more),
            Finding(quantity="CRoMa, share at most 0", value=margins.share_not_positive, **more),
        ]
    return Diagnostic(
        name="robustness",
        title="Robustness to batches",
        how_to_read=(
            "Among near neighbours, those of the same biology in another batch against those of "
            "other biology in the same batch. The index has no fixed chance level: read it "
            "beside what is expected. CRoMa is above 0 where biology is nearer than batch."
        ),
        findings=tuple(findings),
        not_computed=tuple(refused),
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
                    encoder=name,
                    quantity=quantity,
                    condition=condition,
                    value=value,
                    n_items=len(rows),
                    n_groups=len(np.unique(batches)),
                )
                for quantity, value in scores.items()
            ]
    claim = design_refusal(labels, batches) if len(labels) else None
    if claim is not None:
        refused.append(claim)
    return Diagnostic(
        name="mixing",
        title="Batch mixing and conservation",
        how_to_read=(
            "From 0 to 1, higher is more mixed or better kept. Noise mixes best by construction, "
            "so mixing says nothing but beside the biology that is kept."
        ),
        findings=tuple(findings),
        not_computed=tuple(refused),
    )


def _design(
    study: Study,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_], list[str]]:
    """Biology and batch of the items that have both, and why they cannot be compared, if so."""
    label, batch = study.design.label, study.batch
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
