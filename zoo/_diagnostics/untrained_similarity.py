"""Similarity of an embedding to the untrained twin: whether training has changed it."""

import numpy as np

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._similarity import cka, rsa
from .study import Study


def agreement(study: Study) -> Diagnostic:
    """Compute the similarity of the embedding to its untrained twin and to all other controls."""
    subject, twin = study.subject, study.twin
    mine = study.contenders[subject].embeddings[0].matrix
    findings: list[Finding] = []
    not_computed: list[str] = []
    for name, contender in study.contenders.items():
        if name == subject or contender.spec.control == "degenerate":
            continue
        others = [e.matrix for e in contender.embeddings]
        for quantity, measure in (("RSA", rsa), ("CKA", _unbiased_cka)):
            try:
                values = [measure(mine, other) for other in others]
            except ValueError as error:
                not_computed.append(f"{quantity} with {name}: {error}")
                continue
            between = [measure(a, b) for i, a in enumerate(others) for b in others[:i]]
            findings.append(
                Finding(
                    encoder=name,
                    quantity=quantity,
                    value=float(np.mean(values)),
                    low=float(np.min(values)) if len(values) > 1 else float("nan"),
                    high=float(np.max(values)) if len(values) > 1 else float("nan"),
                    reference=float(np.mean(between)) if between else float("nan"),
                    reference_name="between two of its seeds" if between else "",
                    n_items=len(mine),
                    seeds=len(values),
                    note="lowest and highest of the seeds" if len(values) > 1 else "",
                )
            )
    conclusions = []
    if twin is not None:
        alike = {f.quantity: f.value for f in findings if f.encoder == twin}
        words = " and ".join(f"{quantity} {value:.2f}" for quantity, value in alike.items())
        if words:
            conclusions.append(f"Similarity of {subject} to its untrained twin {twin}: {words}.")
    elif study.contenders[subject].spec.control == "untrained":
        not_computed.append(f"{subject} is untrained itself.")
    else:
        not_computed.append(
            f"{subject} has no untrained twin, so the effect of training is unknown."
        )
    return Diagnostic(
        name="agreement",
        title="Similarity to the untrained network",
        how_to_read=(
            "RSA (rank correlation of all pairwise cosines) and unbiased CKA: 1 means the same "
            "structure, 0 independent embeddings. A trained encoder near 1 to its untrained twin "
            "has learned little that matters for these images."
        ),
        findings=tuple(findings),
        conclusions=tuple(conclusions),
        not_computed=tuple(not_computed),
    )


def _unbiased_cka(first: np.ndarray, second: np.ndarray) -> float:  # type: ignore[type-arg]
    return cka(first, second, unbiased=True)
