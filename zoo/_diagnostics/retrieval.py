"""Replicate retrieval under three definitions of positives and negatives."""

from typing import Any

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._average_precision import mean_average_precision
from ..metrics._pairs import Pairs, across_batches, any_negatives, control_negatives
from .effects import SIGNIFICANT
from .study import Study


def retrieval(study: Study) -> Diagnostic:
    """Whether replicates find each other, by three definitions of who is sought among whom."""
    design, refused = study.design, []
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
    if design.position is not None:
        asked[f"not at the same {design.position}"] = any_negatives(
            sought, pos_diffby=(design.position,)
        )
    findings: list[Finding] = []
    for name, matrix in study.matrices.items():
        for condition, pairs in asked.items():
            try:
                found = mean_average_precision(
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
                "encoder": name,
                "condition": condition,
                "n_items": int(scored.sum()),
                "n_groups": int(profiles["label"][scored].nunique()),
            }
            findings += [
                Finding(
                    quantity="mAP",
                    value=float(profiles["average_precision"].mean()),
                    reference=float(profiles["chance"][scored].mean()),
                    reference_name="chance",
                    **more,
                ),
                Finding(
                    quantity="normalised mAP",
                    value=float(profiles["normalised"].mean()),
                    reference=0.0,
                    reference_name="chance",
                    **more,
                ),
                Finding(
                    quantity=f"share of {sought} retrieved",
                    value=float((tested < SIGNIFICANT).mean()),
                    reference=SIGNIFICANT,
                    reference_name="chance, at most",
                    note="Benjamini–Hochberg corrected p below 0.05",
                    **more,
                ),
            ]
    return Diagnostic(
        name="retrieval",
        title="Retrieval of replicates",
        how_to_read=(
            "Mean average precision, by cosine. Replicates in one batch, or at one place on "
            "their plates, find each other by what they share beside biology: read the "
            f"definition in which positives come from another {batch} first."
        ),
        findings=tuple(findings),
        not_computed=tuple(dict.fromkeys(refused)),
    )
