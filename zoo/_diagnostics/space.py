"""What an embedding looks like as a cloud of points, and how like it is to others."""

import numpy as np
import pandas as pd

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._geometry import geometry
from ..metrics._similarity import cka, rsa
from ..metrics._variance import decompose
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
                    contender=name,
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
        "geometry",
        "Geometry and collapse",
        "How many directions an embedding uses. A participation ratio below 3 or a mean cosine "
        "above 0.9 means that most of its dimensions say the same.",
        tuple(findings),
        tuple(said),
    )


def agreement(study: Study) -> Diagnostic:
    """Likeness of the embedding to its untrained twin and to every other control."""
    subject, twin = study.subject, study.twin
    mine = study.contenders[subject].embeddings[0].matrix
    findings: list[Finding] = []
    refused: list[str] = []
    for name, contender in study.contenders.items():
        if name == subject or contender.spec.control == "degenerate":
            continue
        others = [e.matrix for e in contender.embeddings]
        for quantity, measure in (("RSA", rsa), ("CKA", _unbiased_cka)):
            try:
                values = [measure(mine, other) for other in others]
            except ValueError as error:
                refused.append(f"{quantity} with {name}: {error}")
                continue
            between = [measure(a, b) for i, a in enumerate(others) for b in others[:i]]
            findings.append(
                Finding(
                    contender=name,
                    quantity=quantity,
                    value=float(np.mean(values)),
                    low=float(np.min(values)) if len(values) > 1 else float("nan"),
                    high=float(np.max(values)) if len(values) > 1 else float("nan"),
                    reference=float(np.mean(between)) if between else float("nan"),
                    beside="between two of its seeds" if between else "",
                    n_items=len(mine),
                    seeds=len(values),
                    note="lowest and highest of the seeds" if len(values) > 1 else "",
                )
            )
    said = []
    if twin is not None:
        alike = {f.quantity: f.value for f in findings if f.contender == twin}
        words = " and ".join(f"{quantity} {value:.2f}" for quantity, value in alike.items())
        if words:
            said.append(f"Training left {subject} with {words} to its untrained twin {twin}.")
    elif study.contenders[subject].spec.control == "untrained":
        refused.append(f"{subject} is untrained itself, so there is no training to look for.")
    else:
        refused.append(f"{subject} names no untrained twin: what training changed is not known.")
    return Diagnostic(
        "agreement",
        "Trained against untrained",
        "1: both embeddings order all pairs of items alike (RSA, rank correlation of cosines) or "
        "are rotated copies (CKA, unbiased); 0: independent. A trained encoder near 1 with its "
        "untrained twin has learned little that shows on these images.",
        tuple(findings),
        tuple(said),
        tuple(refused),
    )


def _unbiased_cka(first: np.ndarray, second: np.ndarray) -> float:  # type: ignore[type-arg]
    return cka(first, second, unbiased=True)


def variance(study: Study) -> Diagnostic:
    """Share of each embedding's variance that goes with biology and with nuisances."""
    spec, table = study.spec, study.metadata
    columns = dict.fromkeys(
        c for c in (spec.label, spec.batch, spec.group, *spec.confounders, *spec.domains) if c
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
                        contender=name,
                        quantity=factor,
                        condition=condition,
                        value=value,
                        reference=chance,
                        beside="chance",
                        n_items=int(known.sum()),
                        fitted_on="all items",
                    )
                )
    return Diagnostic(
        "variance",
        "Where the variance goes",
        "Share of the embedding's variance by factor (η² of principal components, weighed by "
        "their eigenvalues). Entered first: all that a factor could account for; entered last: "
        "what no other factor could.",
        tuple(findings),
        tuple(said),
        tuple(refused),
    )


def _same_partition(first: np.ndarray, second: np.ndarray) -> bool:  # type: ignore[type-arg]
    pairs = pd.DataFrame({"a": first, "b": second}).drop_duplicates()
    return len(pairs) == pairs["a"].nunique() == pairs["b"].nunique()
