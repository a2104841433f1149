"""Whether replicates agree, find each other, and stand apart from controls."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._alignment import centre_scale
from ..metrics._average_precision import replicate_retrieval
from ..metrics._consistency import consistency, magnitude
from ..metrics._pairs import Pairs, across_batches, any_negatives, control_negatives
from ..metrics._relationships import relationship_recall
from ..metrics._scores import standardise
from .study import Study

SIGNIFICANT = 0.05


def retrieval(study: Study) -> Diagnostic:
    """Whether replicates find each other, by three definitions of who is sought among whom."""
    spec, refused = study.spec, []
    sought, batch = study.perturbation, study.batch
    table = study.metadata.assign(_negative_control=study.negative)
    known = (table[sought].notna() & table[batch].notna()).to_numpy()
    if (missing := int((~known).sum())) > 0:
        refused.append(f"{missing} item(s) without {sought} or {batch} are left out.")
    asked: dict[str, Pairs] = {"any negatives": any_negatives(sought)}
    if study.negative.any():
        asked[f"controls of the same {batch}"] = control_negatives(
            sought, batch, "_negative_control"
        )
    else:
        refused.append("No negative controls are named, so none can be the negatives.")
    if table[batch][known].nunique() > 1:
        asked[f"positives from another {batch} only"] = across_batches(sought, batch)
    else:
        refused.append(f"There is one {batch} only, so no positive is in another.")
    if spec.position is not None:
        asked[f"not at the same {spec.position}"] = any_negatives(sought, apart=(spec.position,))
    findings: list[Finding] = []
    for name, matrix in study.matrices.items():
        for condition, pairs in asked.items():
            try:
                found = replicate_retrieval(
                    matrix[known], table[known].reset_index(drop=True), pairs, seed=study.seed
                )
            except ValueError as error:
                refused.append(f"{condition}: {error}")
                continue
            profiles, groups = found.profiles, found.groups
            scored = profiles["average_precision"].notna()
            if not scored.any():
                refused.append(f"{condition}: no profile has both positives and negatives.")
                continue
            tested = groups["corrected_p_value"].dropna()
            more: dict[str, Any] = {
                "contender": name,
                "condition": condition,
                "n_items": int(scored.sum()),
                "n_groups": int(profiles["label"][scored].nunique()),
            }
            findings += [
                Finding(
                    quantity="mAP",
                    value=float(profiles["average_precision"].mean()),
                    reference=float(profiles["chance"][scored].mean()),
                    beside="chance",
                    **more,
                ),
                Finding(
                    quantity="normalised mAP",
                    value=float(profiles["normalised"].mean()),
                    reference=0.0,
                    beside="chance",
                    **more,
                ),
                Finding(
                    quantity=f"share of {sought} retrieved",
                    value=float((tested < SIGNIFICANT).mean()),
                    reference=SIGNIFICANT,
                    beside="chance, at most",
                    note="Benjamini–Hochberg corrected p below 0.05",
                    **more,
                ),
            ]
    return Diagnostic(
        "retrieval",
        "Retrieval of replicates",
        "Mean average precision, by cosine. Replicates in one batch, or at one place on their "
        "plates, find each other by what they share beside biology: read the definition in which "
        f"positives come from another {batch} first.",
        tuple(findings),
        (),
        tuple(dict.fromkeys(refused)),
    )


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
        return Diagnostic("effects", title, reading, refused=refused)
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
                "contender": name,
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
                    beside="expected of controls",
                    **more,
                ),
                Finding(
                    quantity=f"share of {sought} with {quantity}",
                    value=float((table["corrected_p_value"].dropna() < SIGNIFICANT).mean()),
                    reference=SIGNIFICANT,
                    beside="chance, at most",
                    note="Benjamini–Hochberg corrected p below 0.05",
                    **more,
                ),
            ]
    return Diagnostic("effects", title, reading, tuple(findings), (), tuple(dict.fromkeys(notes)))


def _centred_by_batch(matrix: NDArray[Any], batches: NDArray[Any]) -> NDArray[np.float64]:
    rows = matrix.astype(np.float64)
    for batch in np.unique(batches):
        rows[batches == batch] -= rows[batches == batch].mean(0)
    return standardise(rows, rows)[0]


def relationships(study: Study) -> Diagnostic:
    """Whether annotated pairs of perturbations are among the most alike or unlike of all pairs."""
    title = "Known relationships"
    reading = (
        "Share of annotated pairs among the 5 % of all pairs with the highest or lowest cosine "
        "(chance 0.10), and with the highest (chance 0.05)."
    )
    if study.pairs is None:
        refused = (
            "No annotated pairs were given: databases of them forbid commercial use, so bring your "
            "own table of two columns with pairs= (--pairs).",
        )
        return Diagnostic("relationships", title, reading, refused=refused)
    names = study.metadata[study.perturbation].astype(object).to_numpy()
    findings: list[Finding] = []
    notes: list[str] = []
    for name, matrix in study.matrices.items():
        rows, fitted_on = matrix, "nothing"
        if study.negative.any():
            batches = study.metadata[study.batch].astype(str).to_numpy()
            try:
                rows = centre_scale(matrix, study.negative, batches, min_controls=2)
                fitted_on = "negative controls"
            except ValueError as error:
                notes.append(f"{name} is taken as it is: {error}")
        found = relationship_recall(rows, names, study.pairs)
        notes += found.notes
        for quantity, value, chance in (
            ("recall in the outer tails", found.outer, found.chance_outer),
            ("recall in the upper tail", found.upper, found.chance_upper),
        ):
            findings.append(
                Finding(
                    contender=name,
                    quantity=quantity,
                    value=value,
                    reference=chance,
                    beside="chance",
                    n_items=len(found.pairs),
                    n_groups=found.perturbations,
                    fitted_on=fitted_on,
                    note=found.variant,
                )
            )
    return Diagnostic(
        "relationships", title, reading, tuple(findings), (), tuple(dict.fromkeys(notes))
    )
