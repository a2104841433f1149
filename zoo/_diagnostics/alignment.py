"""Whether alignment on controls helps an encoder more than it helps its controls."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import answer
from ..metrics._alignment import MIN_SHRINKAGE, centre_scale, pca_centre_scale, sphere, tvn
from .study import Study, scored

Array = NDArray[Any]


def alignment(study: Study) -> Diagnostic:
    """Scores of embeddings as they are and aligned on negative controls, side by side."""
    control = study.negative
    controls = int(control.sum())
    batches = study.metadata[study.batch].astype(str).to_numpy()
    refused: list[str] = []
    said: list[str] = []
    wide: list[str] = []
    findings: list[Finding] = []
    if not control.any():
        refused.append("No negative controls are named, and there is nothing to align on.")
    for name, matrix in study.matrices.items() if control.any() else ():
        aligned: dict[str, Array] = {"raw": matrix}
        if controls <= matrix.shape[1]:
            wide.append(f"{name} ({matrix.shape[1]})")
        for method, align in _alignments(matrix, control, batches):
            try:
                aligned[method] = align()
            except ValueError as error:
                refused.append(f"{method}: {error}.".replace("..", "."))
        for question in study.questions:
            for method, rows in aligned.items():
                findings.append(
                    scored(
                        question,
                        answer(question, rows[question.items])[:1],
                        encoder=name,
                        condition=method,
                        seed=study.seed,
                        fitted_on="training folds"
                        if method == "raw"
                        else f"{controls} negative controls, then training folds",
                    )
                )
    if wide:
        said.append(
            f"With {controls} negative controls, PCA and TVN keep at most {controls - 1} axes and "
            f"sphering shrinks; more dimensions have {', '.join(wide)}."
        )
    return Diagnostic(
        name="alignment",
        title="Raw and aligned",
        how_to_read=(
            f"Profiles centred and scaled on the negative controls of each {study.batch}, after a "
            "PCA of the controls, by typical variation normalisation (TVN), and sphered. Read "
            "each beside the raw score, for controls too: alignment helps a control as it helps "
            "an encoder."
        ),
        findings=tuple(findings),
        conclusions=tuple(said),
        not_computed=tuple(dict.fromkeys(refused)),
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
