"""Whether training has changed an embedding: similarity to the untrained twin."""

import numpy as np

from .._evaluation.findings import Diagnostic, Finding
from ..metrics._similarity import cka, rsa
from .study import Study


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
    said = []
    if twin is not None:
        alike = {f.quantity: f.value for f in findings if f.encoder == twin}
        words = " and ".join(f"{quantity} {value:.2f}" for quantity, value in alike.items())
        if words:
            said.append(f"Training left {subject} with {words} to its untrained twin {twin}.")
    elif study.contenders[subject].spec.control == "untrained":
        refused.append(f"{subject} is untrained itself, so there is no training to look for.")
    else:
        refused.append(f"{subject} names no untrained twin: what training changed is not known.")
    return Diagnostic(
        name="agreement",
        title="Trained against untrained",
        how_to_read=(
            "1: both embeddings order all pairs of items alike (RSA, rank correlation of "
            "cosines) or are rotated copies (CKA, unbiased); 0: independent. A trained encoder "
            "near 1 with its untrained twin has learned little that shows on these images."
        ),
        findings=tuple(findings),
        conclusions=tuple(said),
        not_computed=tuple(refused),
    )


def _unbiased_cka(first: np.ndarray, second: np.ndarray) -> float:  # type: ignore[type-arg]
    return cka(first, second, unbiased=True)
