"""Silhouette widths of labels and batches, and BRAS."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._blocks import ROWS
from ._distances import Metric, codes_of, distance_sums, members_of, points

Array = NDArray[Any]
Between = Literal["nearest", "mean_other"]


def silhouette_samples(
    embedding: Array,
    groups: Array,
    *,
    metric: Metric = "cosine",
    between: Between = "nearest",
    rows: int = ROWS,
) -> NDArray[np.float64]:
    """Silhouette (b − a)/max(a, b) of every item, in [−1, 1].

    a is the mean distance to the other items of the group; b that to the nearest other group
    ("nearest"), or to all items of other groups ("mean_other"). 0 where an item is alone in its
    group or coincides with both sides; NaN for one group. Cosine takes the time of N·G products
    for G groups, Euclidean that of N².

    Parameters
    ----------
    embedding
        `(N, D)`, finite; no rows of zeros under cosine.
    groups
        `(N,)`.
    metric
        Cosine distance is 1 − cosine.
    rows
        Items of a block, which bounds the memory and leaves the result as it is.
    """
    located = points(embedding, metric)
    codes = codes_of(groups, len(located), "groups")
    sizes = np.bincount(codes).astype(float)
    if len(sizes) < 2:
        return np.full(len(located), np.nan)
    silhouette = np.empty(len(located))
    for block, sums in distance_sums(located, codes, metric, rows):
        own = codes[block]
        item = np.arange(len(own))
        within = sums[item, own] / np.maximum(sizes[own] - 1, 1)
        sums[item, own] = 0
        if between == "nearest":
            means = sums / sizes
            means[item, own] = np.inf
            beyond = means.min(1)
        else:
            beyond = sums.sum(1) / (sizes.sum() - sizes[own])
        larger = np.maximum(within, beyond)
        usable = (larger > 0) & (sizes[own] > 1)
        silhouette[block] = np.where(
            usable, (beyond - within) / np.where(larger > 0, larger, 1.0), 0.0
        )
    return silhouette


def silhouette_label(
    embedding: Array, labels: Array, *, metric: Metric = "cosine", rows: int = ROWS
) -> float:
    """Mean silhouette of labels as (s + 1)/2, in [0, 1]; 0.5 is chance; NaN for one label.

    scIB (Luecken et al. 2022) takes the Euclidean metric.
    """
    samples = silhouette_samples(embedding, labels, metric=metric, rows=rows)
    return float((samples.mean() + 1) / 2)


def silhouette_batch(
    embedding: Array,
    labels: Array,
    batches: Array,
    *,
    metric: Metric = "cosine",
    between: Between = "nearest",
    rows: int = ROWS,
) -> float:
    """Mean over labels of the mean 1 − |silhouette of batches within the label|, in [0, 1].

    1 is mixed. Labels of one batch, or of as many batches as items, are left out; NaN if that
    leaves none. scIB (Luecken et al. 2022) takes the Euclidean metric.
    """
    label = codes_of(labels, len(embedding), "labels")
    batch = codes_of(batches, len(embedding), "batches")
    scores = []
    for members in members_of(label):
        present = len(np.unique(batch[members]))
        if 1 < present < len(members):
            samples = silhouette_samples(
                embedding[members], batch[members], metric=metric, between=between, rows=rows
            )
            scores.append(float((1 - np.abs(samples)).mean()))
    return float(np.mean(scores)) if scores else float("nan")


def bras(embedding: Array, labels: Array, batches: Array, *, rows: int = ROWS) -> float:
    """Batch removal adapted silhouette, in [0, 1]; 1 is mixed.

    As `silhouette_batch`, with the mean distance to all other batches in place of that to the
    nearest, so that batches nested in pairs do not pass for mixed, and by cosine (Rautenstrauch and
    Ohler 2025).
    """
    return silhouette_batch(embedding, labels, batches, between="mean_other", rows=rows)
