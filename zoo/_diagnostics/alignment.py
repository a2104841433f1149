"""Scores before and after alignment on negative controls."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import score_task
from ..metrics._alignment import MIN_SHRINKAGE, centre_scale, pca_centre_scale, sphere, tvn
from .study import Study, scored

Array = NDArray[Any]


def alignment(study: Study) -> Diagnostic:
    """Compare scores of raw embeddings and of embeddings aligned on negative controls."""
    control = study.negative
    controls = int(control.sum())
    batches = study.metadata[study.batch].astype(str).to_numpy()
    not_computed: list[str] = []
    conclusions: list[str] = []
    wide: list[str] = []
    findings: list[Finding] = []
    if not control.any():
        not_computed.append("The design names no negative controls to align on.")
    for name, matrix in study.matrices.items() if control.any() else ():
        aligned: dict[str, Array] = {"raw": matrix}
        if controls <= matrix.shape[1]:
            wide.append(f"{name} ({matrix.shape[1]})")
        for method, align in _alignments(matrix, control, batches):
            try:
                aligned[method] = align()
            except ValueError as error:
                not_computed.append(f"{method}: {error}.".replace("..", "."))
        for question in study.questions:
            for method, rows in aligned.items():
                findings.append(
                    scored(
                        question,
                        score_task(question, rows[question.items])[:1],
                        encoder=name,
                        condition=method,
                        seed=study.seed,
                        fitted_on="training folds"
                        if method == "raw"
                        else f"{controls} negative controls, then training folds",
                    )
                )
    if wide:
        conclusions.append(
            f"{controls} negative controls limit PCA and TVN to {controls - 1} axes, and sphering "
            f"needs shrinkage, because these have more dimensions: {', '.join(wide)}."
        )
    return Diagnostic(
        name="alignment",
        title="Scores before and after alignment",
        how_to_read=(
            "Scores of the raw embedding, and of embeddings aligned on the negative controls: "
            f"centred and scaled for each {study.batch}, also after a PCA of the controls; typical "
            "variation normalisation (TVN); sphering. Compare with the controls as well, because "
            "alignment can raise their scores too."
        ),
        findings=tuple(findings),
        conclusions=tuple(conclusions),
        not_computed=tuple(dict.fromkeys(not_computed)),
        scores_again=True,
    )


def _alignments(
    matrix: Array, control: Array, batches: Array
) -> Iterator[tuple[str, Callable[[], Array]]]:
    least = int(min(control[batches == b].sum() for b in np.unique(batches)))
    axes = max(1, min(matrix.shape[1], int(control.sum()) - 1))
    yield "centre-scale", lambda: centre_scale(matrix, control, batches, min_controls=2)
    yield (
        "PCA, centre-scale",
        lambda: pca_centre_scale(matrix, control, batches, components=axes, min_controls=2),
    )
    if least >= 2:
        yield "TVN", lambda: tvn(matrix, control, batches, components=axes, min_controls=2)
    shrinkage = 0.0 if control.sum() > 2 * matrix.shape[1] else 10 * MIN_SHRINKAGE
    method = "sphering" if shrinkage == 0 else f"sphering, shrinkage {shrinkage:g}"
    yield method, lambda: sphere(matrix, control, shrinkage=shrinkage)
