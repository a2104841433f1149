"""Scores as plain functions of truth and prediction, quick enough to be bootstrapped."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[Any]


def spearman(truth: Array, predicted: Array) -> float:
    """Rank correlation, in [-1, 1]; 0 where a side is constant and ranks nothing."""
    a, b = rankdata(truth), rankdata(predicted)
    a, b = a - a.mean(), b - b.mean()
    spread = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / spread) if spread > 0 else 0.0


def r_squared(truth: Array, predicted: Array) -> float:
    """Share of variance explained, at most 1; 0 is the mean of `truth`; NaN if that is constant."""
    total = float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - float(((truth - predicted) ** 2).sum()) / total if total > 0 else float("nan")


def roc_auc(truth: Array, scores: Array) -> float:
    """Probability that a true item scores above a false one, ties counting half; NaN for one class.

    `truth` is boolean.
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def balanced_accuracy(truth: Array, predicted: Array) -> float:
    """Mean over the classes in `truth` of the share found, in [0, 1]; chance is 1/classes."""
    hit = truth == predicted
    _, codes = np.unique(truth, return_inverse=True)
    return float((np.bincount(codes, weights=hit) / np.bincount(codes)).mean())


def retrieval_precision(embedding: Array, labels: Array, groups: Array) -> Array:
    """Average precision of each item's ranking of the items of all other groups by cosine.

    Items of the query's own group are left out altogether, so that a shortcut shared within a
    group cannot help. Features are centred and scaled by the candidates, never by the query's
    group. Ties share the precision at their end.

    Parameters
    ----------
    embedding
        `(n, D)`.
    labels, groups
        `(n,)` each; positives carry the query's label.

    Returns
    -------
    ndarray
        `(n,)`, in (0, 1]; NaN for items without a positive or without a negative elsewhere.
    """
    from sklearn.metrics import average_precision_score

    precision = np.full(len(labels), np.nan)
    for group in np.unique(groups):
        inside = groups == group
        candidates = embedding[~inside]
        centre, spread = candidates.mean(0), candidates.std(0)
        spread = np.where(spread > 0, spread, 1.0)
        similarity = (
            _unit((embedding[inside] - centre) / spread) @ _unit((candidates - centre) / spread).T
        )
        for i, row in zip(np.flatnonzero(inside), similarity, strict=True):
            positive = labels[~inside] == labels[i]
            if positive.any() and not positive.all():
                precision[i] = average_precision_score(positive, row)
    return precision


def expected_precision(positives: int, total: int) -> float:
    """Average precision of a random ranking of `total` items, `positives` of them sought.

    μ0 = ((M − 1)/(L − 1) · (L − H_L) + H_L)/L, with H_L the harmonic number.
    """
    if not 1 <= positives <= total:
        raise ValueError(f"{positives} positives among {total} items")
    if total == 1:
        return 1.0
    harmonic = float((1.0 / np.arange(1, total + 1)).sum())
    return ((positives - 1) / (total - 1) * (total - harmonic) + harmonic) / total


def _unit(rows: Array) -> Array:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1.0)  # type: ignore[no-any-return]
