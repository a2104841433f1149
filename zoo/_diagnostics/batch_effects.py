"""Batch effects: robustness, and batch mixing with conservation of biology."""

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
    """Compare neighbours of the same biology with neighbours of the same batch."""
    labels, batches, known, not_computed = _design(study)
    findings: list[Finding] = []
    for name, matrix in study.matrices.items() if not not_computed else ():
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
                reference_name="expected for random neighbours",
                note=f"{k} neighbours, support {index.support} of {index.neighbours}",
                **more,
            ),
            Finding(
                quantity="CRoMa, median",
                value=margins.median,
                reference=0.0,
                reference_name="equally near",
                note=f"{margins.items} items with a margin",
                **more,
            ),
            Finding(quantity="CRoMa, worst tenth", value=margins.worst_tenth, **more),
            Finding(quantity="CRoMa, share at most 0", value=margins.share_not_positive, **more),
        ]
    return Diagnostic(
        name="robustness",
        title="Robustness to batch effects",
        how_to_read=(
            "The robustness index is the share of neighbours with the same biology from another "
            "batch, among these and neighbours with other biology from the same batch. Its chance "
            "level depends on the design: compare it with the expected value. CRoMa is positive if "
            "items of the same biology are nearer than items of the same batch."
        ),
        findings=tuple(findings),
        not_computed=tuple(not_computed),
    )


def mixed(study: Study) -> Diagnostic:
    """Batch mixing and conservation of biology, always reported together."""
    labels, batches, known, not_computed = _design(study)
    findings: list[Finding] = []
    for name, contender in study.contenders.items() if not not_computed else ():
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
        not_computed.append(claim)
    return Diagnostic(
        name="mixing",
        title="Batch mixing and conservation of biology",
        how_to_read=(
            "From 0 to 1; higher means better mixed batches or better conserved biology. Noise "
            "mixes perfectly, so batch mixing is meaningful only together with conservation."
        ),
        findings=tuple(findings),
        not_computed=tuple(not_computed),
    )


def _design(
    study: Study,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_], list[str]]:
    """Label and batch of the items that have both, and reasons against comparing them."""
    label, batch = study.design.label, study.batch
    table = study.metadata
    known = (table[label].notna() & table[batch].notna()).to_numpy()
    labels = table[label][known].astype(str).to_numpy()
    batches = table[batch][known].astype(str).to_numpy()
    not_computed = []
    for column, values in ((label, labels), (batch, batches)):
        if len(np.unique(values)) < 2:
            not_computed.append(f"{column} has a single value: there is nothing to compare.")
    return labels, batches, known, not_computed


def _smallest_class(labels: NDArray[Any]) -> int:
    """Size of the smallest class without the item itself, at least 1."""
    return max(1, int(np.unique(labels, return_counts=True)[1].min()) - 1)
