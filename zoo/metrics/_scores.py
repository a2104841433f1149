"""Scores as plain functions of truth and prediction, quick enough to be bootstrapped."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def spearman(truth: Array, predicted: Array) -> float:
    """Rank correlation, in [-1, 1]; 0 where a side is constant and ranks nothing."""
    from scipy.stats import rankdata

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
    from scipy.stats import rankdata

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
