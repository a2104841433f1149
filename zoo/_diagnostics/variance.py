"""Share of an embedding's variance that goes with each factor."""

import numpy as np
import pandas as pd

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._variance import decompose
from .study import Study


def variance(study: Study) -> Diagnostic:
    """Share of each embedding's variance that goes with biology and with nuisances."""
    design, table = study.design, study.metadata
    columns = dict.fromkeys(
        c
        for c in (design.label, design.batch, design.group, *design.confounders, *design.domains)
        if c
    )
    refused: list[str] = []
    factors: dict[str, np.ndarray] = {}  # type: ignore[type-arg]
    known = table[list(columns)].notna().all(axis=1).to_numpy()
    if (missing := int((~known).sum())) > 0:
        refused.append(f"{missing} item(s) lack one of {', '.join(columns)} and are left out.")
    for column in columns:
        values = table[column][known].astype(str).to_numpy()
        levels = len(np.unique(values))
        if levels < 2:
            refused.append(f"{column} has one value only and can account for nothing.")
        elif levels > len(values) / 2:
            refused.append(f"{column} has {levels} values for {len(values)} items: too many.")
        elif any(_same_partition(values, other) for other in factors.values()):
            refused.append(f"{column} tells items apart as another column does.")
        else:
            factors[column] = values
    findings: list[Finding] = []
    said: dict[str, None] = {}
    for name, matrix in study.matrices.items() if factors else ():
        try:
            found = decompose(matrix[known], factors)
        except ValueError as error:
            refused.append(f"{name}: {error}")
            continue
        said |= dict.fromkeys(found.notes)
        for factor, share in found.shares.items():
            for condition, value, chance in (
                ("entered first", share.alone, share.alone_chance),
                ("entered last", share.unique, share.unique_chance),
            ):
                findings.append(
                    Finding(
                        encoder=name,
                        quantity=factor,
                        condition=condition,
                        value=value,
                        reference=chance,
                        reference_name="chance",
                        n_items=int(known.sum()),
                        fitted_on="all items",
                    )
                )
    return Diagnostic(
        name="variance",
        title="Where the variance goes",
        how_to_read=(
            "Share of the embedding's variance by factor (η² of principal components, weighed by "
            "their eigenvalues). Entered first: all that a factor could account for; entered last: "
            "what no other factor could."
        ),
        findings=tuple(findings),
        conclusions=tuple(said),
        not_computed=tuple(refused),
    )


def _same_partition(first: np.ndarray, second: np.ndarray) -> bool:  # type: ignore[type-arg]
    pairs = pd.DataFrame({"a": first, "b": second}).drop_duplicates()
    return len(pairs) == pairs["a"].nunique() == pairs["b"].nunique()
