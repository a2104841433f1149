"""How an embedding fills its space."""

import numpy as np

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._geometry import geometry
from .study import Study


def space(study: Study) -> Diagnostic:
    """Geometry of every embedding, and whether it has collapsed."""
    findings: list[Finding] = []
    said: list[str] = []
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
            said.append(f"{name}: {found.collapse}.")
        elif found.collapse:
            collapsed.append(name)
        if (twice := len(matrix) - len(np.unique(matrix, axis=0))) > 0:
            said.append(f"{name}: {twice} of {len(matrix)} rows repeat another row exactly.")
    if collapsed:
        said.append(f"Controls whose embedding is collapsed: {', '.join(collapsed)}.")
    return Diagnostic(
        name="geometry",
        title="Geometry and collapse",
        how_to_read=(
            "How many directions an embedding uses. A participation ratio below 3 or a mean cosine "
            "above 0.9 means that most of its dimensions say the same."
        ),
        findings=tuple(findings),
        conclusions=tuple(said),
    )
