"""Consistency and magnitude of perturbation effects."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._alignment import centre_scale
from ..metrics._consistency import consistency
from ..metrics._energy_distance import magnitude
from ..metrics._matrix import standardise
from .study import Study

SIGNIFICANT = 0.05


def effects(study: Study) -> Diagnostic:
    """Whether replicates agree more than controls do, and how far they are from controls."""
    title = "Consistency and magnitude"
    reading = (
        "Consistency: mean cosine of replicates in different batches, centred and scaled on the "
        "controls of each, beside as many controls. Magnitude: energy distance of replicates to "
        "the controls of their batches, beside permutations; there all items are centred alike, "
        "for controls that are fitted on themselves lie too close together."
    )
    sought, batch = study.perturbation, study.batch
    if not study.negative.any():
        refused = ("No negative controls are named, so there is nothing to compare with.",)
        return Diagnostic(
            name="effects",
            title=title,
            how_to_read=reading,
            not_computed=refused,
        )
    batches = study.metadata[batch].astype(str).to_numpy()
    names = study.metadata[sought].astype(object).to_numpy()
    findings: list[Finding] = []
    notes: list[str] = []
    for name, matrix in study.matrices.items():
        try:
            rows = centre_scale(matrix, study.negative, batches, min_controls=2)
            settings: dict[str, Any] = {"batches": batches, "seed": study.seed}
            agree = consistency(rows, names, study.negative, **settings)
            alike = _centred_by_batch(matrix, batches)
            apart = magnitude(alike, names, study.negative, **settings)
        except ValueError as error:
            notes.append(f"{name}: {error}")
            continue
        for quantity, found, fitted_on in (
            ("consistency", agree, "negative controls"),
            ("magnitude", apart, "all items, labels unseen"),
        ):
            notes += found.notes
            table = found.perturbations.dropna(subset=[quantity])
            more: dict[str, Any] = {
                "encoder": name,
                "n_items": int(table["replicates"].sum()),
                "n_groups": len(table),
                "fitted_on": fitted_on,
            }
            if table.empty:
                continue
            findings += [
                Finding(
                    quantity=quantity,
                    value=float(table[quantity].mean()),
                    reference=float(table["expected"].mean()),
                    reference_name="expected of controls",
                    **more,
                ),
                Finding(
                    quantity=f"share of {sought} with {quantity}",
                    value=float((table["corrected_p_value"].dropna() < SIGNIFICANT).mean()),
                    reference=SIGNIFICANT,
                    reference_name="chance, at most",
                    note="Benjamini–Hochberg corrected p below 0.05",
                    **more,
                ),
            ]
    return Diagnostic(
        name="effects",
        title=title,
        how_to_read=reading,
        findings=tuple(findings),
        not_computed=tuple(dict.fromkeys(notes)),
    )


def _centred_by_batch(matrix: NDArray[Any], batches: NDArray[Any]) -> NDArray[np.float64]:
    rows = matrix.astype(np.float64)
    for batch in np.unique(batches):
        rows[batches == batch] -= rows[batches == batch].mean(0)
    return standardise(rows, rows)[0]
