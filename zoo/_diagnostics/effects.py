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
    """Test whether replicates agree more than controls, and how far they are from controls."""
    title = "Consistency and magnitude of effects"
    how_to_read = (
        "Consistency: mean cosine between replicates in different batches, centred and scaled on "
        "the negative controls of each batch, compared with the same number of controls. "
        "Magnitude: energy distance between replicates and the controls of their batches, compared "
        "with its permutation null; all items of a batch are centred together, because controls "
        "centred on themselves would be too close to each other."
    )
    sought, batch = study.perturbation, study.batch
    if not study.negative.any():
        not_computed = ("The design names no negative controls to compare with.",)
        return Diagnostic(
            name="effects",
            title=title,
            how_to_read=how_to_read,
            not_computed=not_computed,
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
                    reference_name="expected for controls",
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
        how_to_read=how_to_read,
        findings=tuple(findings),
        not_computed=tuple(dict.fromkeys(notes)),
    )


def _centred_by_batch(matrix: NDArray[Any], batches: NDArray[Any]) -> NDArray[np.float64]:
    rows = matrix.astype(np.float64)
    for batch in np.unique(batches):
        rows[batches == batch] -= rows[batches == batch].mean(0)
    return standardise(rows, rows)[0]
