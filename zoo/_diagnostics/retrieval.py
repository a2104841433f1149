"""Replicate retrieval under three definitions of positives and negatives."""

from typing import Any

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._average_precision import mean_average_precision
from ..metrics._pairs import Pairs, across_batches, any_negatives, control_negatives
from .effects import SIGNIFICANT
from .study import Study


def retrieval(study: Study) -> Diagnostic:
    """Replicate retrieval (mAP) with three definitions of positive and negative pairs."""
    design, not_computed = study.design, []
    sought, batch = study.perturbation, study.batch
    table = study.metadata.assign(_negative_control=study.negative)
    known = (table[sought].notna() & table[batch].notna()).to_numpy()
    if (missing := int((~known).sum())) > 0:
        not_computed.append(f"{missing} item(s) without {sought} or {batch} are left out.")
    asked: dict[str, Pairs] = {"any negatives": any_negatives(sought)}
    if study.negative.any():
        asked[f"controls of the same {batch}"] = control_negatives(
            sought, batch, "_negative_control"
        )
    else:
        not_computed.append("The design names no negative controls to use as negatives.")
    if table[batch][known].nunique() > 1:
        asked[f"positives from another {batch} only"] = across_batches(sought, batch)
    else:
        not_computed.append(f"There is a single {batch}, so no positive is from another.")
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
                not_computed.append(f"{condition}: {error}")
                continue
            profiles, groups = found.profiles, found.groups
            scored = profiles["average_precision"].notna()
            if not scored.any():
                not_computed.append(f"{condition}: no profile has both positives and negatives.")
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
        title="Replicate retrieval",
        how_to_read=(
            "Mean average precision (mAP) as defined in copairs: cosine of the raw embedding, "
            "explicit positive and negative pairs, ties averaged. It differs from the score mAP "
            "across groups. Replicates from one batch or plate position share more than biology, "
            f"so start with the definition that takes positives from another {batch} only."
        ),
        findings=tuple(findings),
        not_computed=tuple(dict.fromkeys(not_computed)),
    )
