"""Batch mixing and bio-conservation, always reported together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._blocks import ROWS
from ._distances import Metric, codes_of
from ._graph import graph_connectivity
from ._kbet import kbet
from ._lisi import clisi, ilisi, lisi
from ._pcr import principal_component_regression
from ._silhouette import bras, silhouette_batch, silhouette_label

Array = NDArray[Any]


@dataclass(frozen=True)
class Mixing:
    """Scores of batch mixing and of bio-conservation, always reported together, never aggregated.

    Parameters
    ----------
    batch
        Batch mixing by the name of the score, higher is more mixed; NaN where undefined.
    biology
        Bio-conservation by the name of the score, higher is better conserved; NaN where undefined.
    refusal
        Why this design allows no claim about batch correction, or None.
    """

    batch: Mapping[str, float]
    biology: Mapping[str, float]
    refusal: str | None

    def __str__(self) -> str:
        lines = [
            f"batch mixing: {_listed(self.batch)}",
            f"bio-conservation: {_listed(self.biology)}",
            "A constant or noise embedding mixes best by construction: "
            "read batch mixing only together with bio-conservation.",
        ]
        return "\n".join(lines if self.refusal is None else [self.refusal, *lines])


def mixing(
    embedding: Array,
    labels: Array,
    batches: Array,
    indices: Array,
    distances: Array,
    *,
    metric: Metric = "cosine",
    rows: int = ROWS,
) -> Mixing:
    """Scores of how well batches mix and how well labels are conserved.

    The batch scores of scIB (Luecken et al., 2022) with BRAS in front, and its label scores. A
    constant or noise embedding mixes best by construction, so batch mixing alone says nothing.

    Parameters
    ----------
    embedding
        `(N, D)`, finite; no rows of zeros.
    labels, batches
        `(N,)`.
    indices, distances
        `(N, k)` nearest other items of each item, nearest first, and their distances.
    metric
        Of the silhouettes, except that BRAS always uses cosine.
    rows
        Items in a block, which bounds the memory and does not change the result.

    Returns
    -------
    Mixing
        All scores in [0, 1].

    Raises
    ------
    ValueError
        For shapes that do not fit, indices that are no neighbours, values that are not finite, and
        rows of zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import mixing, nearest_neighbours
    >>> embedding = np.random.default_rng(0).normal(size=(300, 8))
    >>> batches = np.arange(300) % 2
    >>> indices, distances = nearest_neighbours(embedding, 90)
    >>> found = mixing(embedding, np.arange(300) // 150, batches, indices, distances)
    >>> sorted(found.biology)
    ['cLISI', 'label ASW']
    >>> found.batch["iLISI"] > 0.9
    True
    """
    batch = {
        "BRAS": bras(embedding, labels, batches, rows=rows),
        "batch ASW": silhouette_batch(embedding, labels, batches, metric=metric, rows=rows),
        "iLISI": ilisi(lisi(indices, distances, batches, rows=rows), batches),
        "kBET": kbet(indices, labels, batches).score,
        "graph connectivity": graph_connectivity(indices, labels),
        "1 − PCR": 1 - principal_component_regression(embedding, batches),
    }
    biology = {
        "label ASW": silhouette_label(embedding, labels, metric=metric, rows=rows),
        "cLISI": clisi(lisi(indices, distances, labels, rows=rows), labels),
    }
    return Mixing(batch, biology, design_refusal(labels, batches))


def design_refusal(labels: Array, batches: Array) -> str | None:
    """Why a design cannot tell batch from biology, or None if it can.

    It can where some label occurs in several batches and some batch holds several labels. If not,
    the refusal holds for every embedding.

    Parameters
    ----------
    labels, batches
        `(N,)`.
    """
    label, batch = (
        codes_of(labels, len(labels), "labels"),
        codes_of(batches, len(labels), "batches"),
    )
    present = np.zeros((label.max() + 1, batch.max() + 1), bool)
    present[label, batch] = True
    refusal = "Batch correction cannot be assessed: "
    if present.shape[1] == 1:
        return refusal + "there is only one batch."
    if present.shape[0] == 1:
        return refusal + "there is only one label, so bio-conservation is undefined."
    if (present.sum(1) == 1).all():
        return (
            refusal
            + "every label occurs in only one batch, so mixing batches would also mix labels."
        )
    if (present.sum(0) == 1).all():
        return refusal + "every batch has only one label, so batches may be what separates labels."
    return None


def _listed(scores: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {'undefined' if np.isnan(score) else f'{score:.3f}'}"
        for name, score in scores.items()
    )
