"""Recall of known relationships between perturbations."""

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._alignment import centre_scale
from ..metrics._relationships import relationship_recall
from .study import Study


def relationships(study: Study) -> Diagnostic:
    """Test whether annotated pairs are among the most similar or dissimilar of all pairs."""
    title = "Known relationships"
    how_to_read = (
        "Share of annotated pairs among the 5 % of all pairs with the highest or lowest cosine "
        "(chance 0.10), and with the highest (chance 0.05)."
    )
    if study.pairs is None:
        not_computed = (
            "No annotated pairs were given: their databases forbid commercial use, so provide your "
            "own table of two columns with pairs= (--pairs).",
        )
        return Diagnostic(
            name="relationships",
            title=title,
            how_to_read=how_to_read,
            not_computed=not_computed,
        )
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
                notes.append(f"{name} is not centred and scaled: {error}")
        found = relationship_recall(rows, names, study.pairs)
        notes += found.notes
        for quantity, value, chance in (
            ("recall in the outer tails", found.outer, found.chance_outer),
            ("recall in the upper tail", found.upper, found.chance_upper),
        ):
            findings.append(
                Finding(
                    encoder=name,
                    quantity=quantity,
                    value=value,
                    reference=chance,
                    reference_name="chance",
                    n_items=len(found.pairs),
                    n_groups=found.perturbations,
                    fitted_on=fitted_on,
                    note=found.variant,
                )
            )
    return Diagnostic(
        name="relationships",
        title=title,
        how_to_read=how_to_read,
        findings=tuple(findings),
        not_computed=tuple(dict.fromkeys(notes)),
    )
