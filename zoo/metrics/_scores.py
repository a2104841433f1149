"""Scores of predictions, fast enough for a bootstrap."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def spearman(truth: Array, predicted: Array) -> float:
    """Spearman rank correlation, in [-1, 1]; 0 by chance.

    0, and not NaN as in SciPy, where one side is constant and so ranks nothing.

    Parameters
    ----------
    truth, predicted
        `(N,)` numbers; ties share their mean rank.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import spearman
    >>> spearman(np.array([1, 2, 3, 4]), np.array([10, 20, 40, 30]))
    0.8
    """
    a, b = _ranks(truth), _ranks(predicted)
    a, b = a - a.mean(), b - b.mean()
    spread = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / spread) if spread > 0 else 0.0


def r_squared(truth: Array, predicted: Array) -> float:
    """Coefficient of determination R², at most 1; 0 for predicting the mean of `truth`.

    As scikit-learn's ``r2_score``, but NaN where `truth` is constant.

    Parameters
    ----------
    truth, predicted
        `(N,)` numbers.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import r_squared
    >>> r_squared(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0]))
    0.5
    """
    total = float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - float(((truth - predicted) ** 2).sum()) / total if total > 0 else float("nan")


def roc_auc(truth: Array, scores: Array) -> float:
    """Area under the ROC curve, in [0, 1]; 0.5 by chance.

    The probability that a positive item scores above a negative one, where ties count half.

    Parameters
    ----------
    truth
        `(N,)` booleans.
    scores
        `(N,)` numbers.

    Returns
    -------
    float
        NaN where only one class is present.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import roc_auc
    >>> roc_auc(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.5, 0.1]))
    0.75
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = _ranks(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _ranks(values: Array) -> Array:
    """Ranks from 1, ties at their mean: SciPy's `rankdata` in a quarter of the time for few."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    if len(values) and np.isnan(ordered[-1]):
        return np.full(len(values), np.nan)
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    starts = np.append(np.flatnonzero(first), len(values))
    ranks = np.empty(len(values))
    ranks[order] = ((starts[:-1] + starts[1:] + 1) / 2)[np.cumsum(first) - 1]
    return ranks


def balanced_accuracy(truth: Array, predicted: Array) -> float:
    """Mean recall over the classes in `truth`, in [0, 1]; 1/classes by chance.

    Parameters
    ----------
    truth, predicted
        `(N,)` labels of any one type.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import balanced_accuracy
    >>> balanced_accuracy(np.array(["a", "a", "a", "b"]), np.array(["a", "a", "a", "a"]))
    0.5
    """
    hit = truth == predicted
    _, codes = np.unique(truth, return_inverse=True)
    return float((np.bincount(codes, weights=hit) / np.bincount(codes)).mean())


def macro_f1(truth: Array, predicted: Array) -> float:
    """Mean over the classes in `truth` of F1 = 2 hits/(predicted + present), in [0, 1].

    A predicted class that `truth` lacks counts only against the class that was missed. scikit-learn
    by default also averages over that class, with an F1 of 0.

    Parameters
    ----------
    truth, predicted
        `(N,)` labels of any one type.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import macro_f1
    >>> truth, predicted = np.array(["a", "a", "b", "b"]), np.array(["a", "b", "b", "b"])
    >>> round(macro_f1(truth, predicted), 3)
    0.733
    """
    names, codes = np.unique(truth, return_inverse=True)
    places = np.searchsorted(names, predicted).clip(max=len(names) - 1)
    known = names[places] == predicted
    hits = np.bincount(codes, weights=known & (places == codes), minlength=len(names))
    claimed = np.bincount(places[known], minlength=len(names))
    return float((2 * hits / (claimed + np.bincount(codes))).mean())


def majority_baseline(truth: Array) -> dict[str, float]:
    """Scores of always predicting the most frequent class of `truth`, or the first of several.

    Parameters
    ----------
    truth
        `(N,)` labels.

    Returns
    -------
    dict
        ``"accuracy"``, ``"balanced accuracy"`` and ``"macro-F1"``; all 1 for one class.

    Raises
    ------
    ValueError
        For no items.
    """
    _, counts = np.unique(truth, return_counts=True)
    if not len(counts):
        raise ValueError("there are no items, so there is no majority class")
    share = float(counts.max() / counts.sum())
    return {
        "accuracy": share,
        "balanced accuracy": 1 / len(counts),
        "macro-F1": 2 * share / (1 + share) / len(counts),
    }


def z_prime(positive: Array, negative: Array) -> float:
    """Z' = 1 − 3(s₊ + s₋)/|m₊ − m₋| of positive and negative controls, at most 1.

    An assay counts as excellent from 0.5. The standard deviations divide by n − 1 (Zhang, Chung and
    Oldenburg, 1999).

    Parameters
    ----------
    positive, negative
        `(n,)` and `(m,)` readouts of the two controls.

    Returns
    -------
    float
        NaN where a side has fewer than two values or one that is not finite, and where all values
        are the same; −∞ where only the means are.

    Raises
    ------
    ValueError
        For anything but two vectors.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import z_prime
    >>> round(z_prime(np.array([9.0, 10.0, 11.0]), np.array([-1.0, 0.0, 1.0])), 3)
    0.4
    """
    sides = [np.asarray(side, np.float64) for side in (positive, negative)]
    if any(side.ndim != 1 for side in sides):
        raise ValueError("positive and negative must be vectors, one value per control")
    if any(len(side) < 2 or not np.isfinite(side).all() for side in sides):
        return float("nan")
    spread = sum(float(side.std(ddof=1)) for side in sides)
    window = abs(float(sides[0].mean() - sides[1].mean()))
    if window == 0:
        return float("nan") if spread == 0 else float("-inf")
    return 1.0 - 3.0 * spread / window
