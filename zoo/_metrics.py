"""Scores as plain functions of truth and prediction, quick enough to be bootstrapped."""

from collections.abc import Iterator
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


def standardise(seen: Array, unseen: Array) -> tuple[Array, Array]:
    """Centre and scale features by the mean and sd of `seen`.

    A feature that varies by less than float32 resolves beside its size is dead and becomes 0, so
    that rounding is not blown up into a signal.
    """
    centre, spread = seen.mean(0, dtype=np.float64), seen.std(0, dtype=np.float64)
    alive = spread > 1e-5 * np.abs(seen).max(0, initial=0)
    gain = np.where(alive, 1 / np.where(alive, spread, 1.0), 0.0)
    return (seen - centre) * gain, (unseen - centre) * gain


def rank_other_groups(
    embedding: Array, groups: Array, queries: Array | None = None
) -> Iterator[tuple[int, Array]]:
    """Yield each item with the items of all other groups, nearest first by cosine.

    Items of the query's own group are left out altogether, so that a shortcut shared within a
    group cannot help. Features are standardised by the candidates, never by the query's group.
    Ties fall as a fixed shuffle has them.

    Parameters
    ----------
    embedding
        `(n, D)`.
    groups
        `(n,)`.
    queries
        Which items to yield, `(n,)` booleans; by default all.
    """
    shuffle = np.random.default_rng(0).permutation(len(groups))
    for group in np.unique(groups):
        own = groups == group
        inside = np.flatnonzero(own if queries is None else own & queries)
        others = shuffle[~own[shuffle]]
        candidates, asking = standardise(embedding[others], embedding[inside])
        similarity = _unit(asking) @ _unit(candidates).T
        for i, row in zip(inside, similarity, strict=True):
            yield int(i), others[np.argsort(-row, kind="stable")]


def precision_of_rankings(relevant: Array) -> Array:
    """Average precision of rankings: the mean, over the positives, of the precision at their place.

    Parameters
    ----------
    relevant
        `(L, m)` booleans, best place first, one ranking a column.

    Returns
    -------
    ndarray
        `(m,)`, in (0, 1]; NaN for rankings without a positive or without a negative.
    """
    hits = relevant.cumsum(0)
    places = np.arange(1, len(relevant) + 1)[:, None]
    positives = relevant.sum(0)
    usable = (positives > 0) & (positives < len(relevant))
    total = (hits / places * relevant).sum(0)
    return np.where(usable, total / np.maximum(positives, 1), np.nan)


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
