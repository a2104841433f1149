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
    """Silhouette width (b − a)/max(a, b) of every item, in [−1, 1]; about 0 by chance.

    a is the mean distance to the other items of the item's group (Rousseeuw, 1987). Time grows with
    N·G products for G groups under cosine, and with N² under the Euclidean metric.

    Parameters
    ----------
    embedding
        `(N, D)`, finite; no rows of zeros under cosine.
    groups
        `(N,)` labels or batches.
    metric
        ``"cosine"`` is the distance 1 − cosine.
    between
        Whether b is the mean distance to the ``"nearest"`` other group, or to all items of other
        groups, ``"mean_other"``.
    rows
        Items in a block, which bounds the memory and does not change the result.

    Returns
    -------
    ndarray
        `(N,)`; 0 for an item that is alone in its group or has a = b = 0, and NaN if there is only
        one group.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, and rows of zeros under cosine.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import silhouette_samples
    >>> embedding = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> silhouette_samples(embedding, np.array(["a", "a", "b", "b"])).round(1).tolist()
    [1.0, 1.0, 1.0, 1.0]
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
    """Mean silhouette width of the labels as (s + 1)/2, in [0, 1]; about 0.5 by chance.

    The label ASW of scIB (Luecken et al., 2022), which uses the Euclidean metric.

    Parameters
    ----------
    embedding, metric, rows
        As for `silhouette_samples`.
    labels
        `(N,)`.

    Returns
    -------
    float
        Higher is better separated; NaN if there is only one label.

    Raises
    ------
    ValueError
        As `silhouette_samples`.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import silhouette_label
    >>> embedding = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(silhouette_label(embedding, np.array(["a", "a", "b", "b"])), 1)
    1.0
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
    """Mean over labels of 1 − abs(silhouette width of batches within a label), in [0, 1].

    The batch ASW of scIB (Luecken et al., 2022), which uses the Euclidean metric. 1 is fully mixed,
    and items without a batch effect come close to it. Labels of one batch, or of as many batches as
    items, are left out.

    Parameters
    ----------
    embedding, metric, between, rows
        As for `silhouette_samples`.
    labels, batches
        `(N,)`.

    Returns
    -------
    float
        NaN if no label remains.

    Raises
    ------
    ValueError
        As `silhouette_samples`.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import silhouette_batch
    >>> embedding = np.random.default_rng(0).normal(size=(200, 8))
    >>> labels, batches = np.arange(200) % 2, np.arange(200) // 100
    >>> round(silhouette_batch(embedding, labels, batches), 1)
    0.9
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
    """Batch removal adapted silhouette (BRAS), in [0, 1]; 1 is fully mixed.

    As `silhouette_batch` by cosine, with the mean distance to all other batches in place of that to
    the nearest one, so that batches nested in pairs do not pass for mixed (Rautenstrauch and Ohler,
    2025).

    Parameters
    ----------
    embedding, rows
        As for `silhouette_samples`.
    labels, batches
        `(N,)`.

    Returns
    -------
    float
        NaN if no label has several batches.

    Raises
    ------
    ValueError
        As `silhouette_samples`.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import bras
    >>> embedding = np.random.default_rng(0).normal(size=(200, 8))
    >>> labels, batches = np.arange(200) % 2, np.arange(200) // 100
    >>> round(bras(embedding, labels, batches), 1)
    0.9
    """
    return silhouette_batch(embedding, labels, batches, between="mean_other", rows=rows)
