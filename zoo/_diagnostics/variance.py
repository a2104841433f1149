"""Share of an embedding's variance that each factor explains."""

import numpy as np
import pandas as pd

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._variance import decompose
from .study import Study


def variance(study: Study) -> Diagnostic:
    """Decompose each embedding's variance by biology and nuisances."""
    design, table = study.design, study.metadata
    columns = dict.fromkeys(
        c
        for c in (design.label, design.batch, design.group, *design.confounders, *design.domains)
        if c
    )
    not_computed: list[str] = []
    factors: dict[str, np.ndarray] = {}  # type: ignore[type-arg]
    known = table[list(columns)].notna().all(axis=1).to_numpy()
    if (missing := int((~known).sum())) > 0:
        not_computed.append(f"{missing} item(s) lack one of {', '.join(columns)} and are left out.")
    for column in columns:
        values = table[column][known].astype(str).to_numpy()
        levels = len(np.unique(values))
        if levels < 2:
            not_computed.append(f"{column} has a single value and explains no variance.")
        elif levels > len(values) / 2:
            not_computed.append(f"{column} has too many values: {levels} for {len(values)} items.")
        elif any(_same_partition(values, other) for other in factors.values()):
            not_computed.append(f"{column} divides the items in the same way as another column.")
        else:
            factors[column] = values
    findings: list[Finding] = []
    conclusions: dict[str, None] = {}
    for name, matrix in study.matrices.items() if factors else ():
        try:
            found = decompose(matrix[known], factors)
        except ValueError as error:
            not_computed.append(f"{name}: {error}")
            continue
        conclusions |= dict.fromkeys(found.notes)
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
        title="Variance explained by each factor",
        how_to_read=(
            "Share of the embedding's variance by factor (η² of principal components, weighted by "
            "their eigenvalues). Entered first: everything that the factor can explain; entered "
            "last: what no other factor can explain."
        ),
        findings=tuple(findings),
        conclusions=tuple(conclusions),
        not_computed=tuple(not_computed),
    )


def _same_partition(first: np.ndarray, second: np.ndarray) -> bool:  # type: ignore[type-arg]
    pairs = pd.DataFrame({"a": first, "b": second}).drop_duplicates()
    return len(pairs) == pairs["a"].nunique() == pairs["b"].nunique()
