"""Geometry of an embedding: effective dimensions and collapse."""

import numpy as np

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._geometry import geometry
from .study import Study


def space(study: Study) -> Diagnostic:
    """Describe the geometry of every embedding, and detect collapse."""
    findings: list[Finding] = []
    conclusions: list[str] = []
    collapsed: list[str] = []
    for name, contender in study.contenders.items():
        matrix = contender.embeddings[0].matrix
        found = geometry(matrix)
        for quantity, value in (
            ("participation ratio", found.participation_ratio),
            ("effective rank", found.effective_rank),
            ("share of the first axis", found.first_share),
            ("mean cosine", found.mean_cosine),
            ("dead dimensions", found.dead),
        ):
            findings.append(
                Finding(
                    encoder=name,
                    quantity=quantity,
                    value=float(value),
                    n_items=len(matrix),
                    note=f"of {matrix.shape[1]} dimensions",
                )
            )
        if found.collapse and name == study.subject:
            conclusions.append(f"{name}: {found.collapse}.")
        elif found.collapse:
            collapsed.append(name)
        if (twice := len(matrix) - len(np.unique(matrix, axis=0))) > 0:
            conclusions.append(
                f"{name}: {twice} of {len(matrix)} rows are exact duplicates of another row."
            )
    if collapsed:
        conclusions.append(f"Controls with a collapsed embedding: {', '.join(collapsed)}.")
    return Diagnostic(
        name="geometry",
        title="Geometry and collapse",
        how_to_read=(
            "The effective number of dimensions of an embedding. A participation ratio below 3 or "
            "a mean cosine above 0.9 means that most dimensions are redundant."
        ),
        findings=tuple(findings),
        conclusions=tuple(conclusions),
    )
