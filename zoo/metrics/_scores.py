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


def macro_f1(truth: Array, predicted: Array) -> float:
    """Mean over the classes in `truth` of F1 = 2 hits/(predicted + present), in [0, 1].

    A prediction of a class that `truth` lacks counts against the class that it missed only, where
    scikit-learn by default also takes the mean over that class, at 0.
    """
    names, codes = np.unique(truth, return_inverse=True)
    places = np.searchsorted(names, predicted).clip(max=len(names) - 1)
    known = names[places] == predicted
    hits = np.bincount(codes, weights=known & (places == codes), minlength=len(names))
    claimed = np.bincount(places[known], minlength=len(names))
    return float((2 * hits / (claimed + np.bincount(codes))).mean())


def majority_baseline(truth: Array) -> dict[str, float]:
    """Scores of always predicting the most frequent class of `truth`; the first, if several are.

    Returns
    -------
    dict
        ``"accuracy"``, ``"balanced accuracy"`` and ``"macro-F1"``; 1 for one class.
    """
    _, counts = np.unique(truth, return_counts=True)
    if not len(counts):
        raise ValueError("There is no item, and hence no majority")
    share = float(counts.max() / counts.sum())
    return {
        "accuracy": share,
        "balanced accuracy": 1 / len(counts),
        "macro-F1": 2 * share / (1 + share) / len(counts),
    }


def z_prime(positive: Array, negative: Array) -> float:
    """Z' = 1 − 3(s₊ + s₋)/|m₊ − m₋| of two controls (Zhang, Chung and Oldenburg 1999), at most 1.

    Standard deviations have n − 1. NaN where a side has fewer than two values or one that is not
    finite, and where all values are the same; −∞ where only the means are.
    """
    sides = [np.asarray(side, np.float64) for side in (positive, negative)]
    if any(side.ndim != 1 for side in sides):
        raise ValueError("Z' compares single values of controls: give two vectors")
    if any(len(side) < 2 or not np.isfinite(side).all() for side in sides):
        return float("nan")
    spread = sum(float(side.std(ddof=1)) for side in sides)
    window = abs(float(sides[0].mean() - sides[1].mean()))
    if window == 0:
        return float("nan") if spread == 0 else float("-inf")
    return 1.0 - 3.0 * spread / window


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


def normalised_precision(precision: Array, chance: Array) -> Array:
    """(AP − μ0)/(1 − μ0): 0 at chance and 1 if perfect; NaN where chance is perfect already.

    Parameters
    ----------
    precision, chance
        Of like shape; chance is of `expected_precision`.
    """
    room = 1.0 - np.asarray(chance, np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(room > 0, (precision - chance) / np.where(room > 0, room, 1.0), np.nan)


def _unit(rows: Array) -> Array:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1.0)  # type: ignore[no-any-return]
