"""Out-of-fold predictions by ridge regression, a linear probe and nearest neighbours."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import EvaluationError

from ._blocks import ENTRIES, blocks_of
from ._matrix import standardise, unit_rows
from ._neighbours import k_nearest

Array = NDArray[Any]
Splits = Sequence[tuple[Array, Array]]
MAX_FOLDS = 10
NEIGHBOURS = 5
ALPHAS = np.logspace(-1, 5, 13)
DIGITS = 12  # of fitted class shares and similarities; further digits are rounding errors
SPAN = 1e-13  # squared lengths below this share of the longest are rounding errors
# Entries of the class indicators that one fit may hold.
INDICATORS = 2**25


def folds(groups: Array) -> Iterator[tuple[Array, Array]]:
    """Training and test positions of up to 10 grouped folds; no group is ever split.

    Parameters
    ----------
    groups
        `(N,)` independent unit of each item, such as a plate or a donor; two or more.

    Yields
    ------
    train, test
        Positions.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import folds
    >>> groups = np.array(["a", "a", "b", "b", "c"])
    >>> all(set(groups[train]).isdisjoint(groups[test]) for train, test in folds(groups))
    True
    """
    from sklearn.model_selection import GroupKFold

    count = min(len(np.unique(groups)), MAX_FOLDS)
    yield from GroupKFold(count).split(groups, groups=groups)


def check_splits(splits: Splits, groups: Array) -> Splits:
    """Return the splits if none separates members of a group.

    Raises
    ------
    EvaluationError
        Naming a group with members on both sides.
    """
    for train, test in splits:
        both = np.intersect1d(groups[train], groups[test])
        if len(both):
            raise EvaluationError(
                f"the split separates members of {len(both)} group(s), the first of them {both[0]}"
            )
    return splits


def ridge(embedding: Array, target: Array, splits: Splits) -> tuple[Array, Array]:
    """Out-of-fold predictions of ridge regression, for every column of the target.

    Features are standardised on the training fold, and the penalty is chosen by leave-one-out
    within it. Ranks should be taken of the shifts alone: the training mean is low where the
    held-out group is high, and would rank groups backwards.

    Parameters
    ----------
    embedding
        `(N, D)`.
    target
        `(N, m)` numbers.
    splits
        Training and test positions, as `folds` gives them.

    Returns
    -------
    shift, base
        `(N, m)` each: predictions as shifts from the mean of the training fold, and that mean. Both
        are 0 for items that are never tested.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import folds, ridge
    >>> embedding = np.random.default_rng(0).normal(size=(60, 3))
    >>> target = embedding @ np.array([[1.0], [-2.0], [0.5]])
    >>> shift, base = ridge(embedding, target, list(folds(np.arange(60) // 10)))
    >>> bool(np.abs(shift + base - target).max() < 0.1)
    True
    """
    from sklearn.linear_model import RidgeCV

    shift, base = np.zeros(target.shape), np.zeros(target.shape)
    for train, test in splits:
        seen, unseen = _in_span(*standardise(embedding[train], embedding[test]))
        mean = target[train].mean(0)
        model = RidgeCV(alphas=ALPHAS, alpha_per_target=True)
        shift[test] = model.fit(seen, target[train]).predict(unseen).reshape(len(test), -1) - mean
        base[test] = mean
    return shift, base


def probe_labels(embedding: Array, codes: Array, splits: Splits) -> Array:
    """Out-of-fold classes of a linear probe, for every column of the target.

    Ridge regression on class indicators, then the class whose mean fitted value is nearest (optimal
    scoring; Hastie, Tibshirani and Buja, 1994). Unlike the largest fitted value, this neither masks
    a class that lies between others nor favours frequent classes. A constant embedding scores at
    chance.

    Parameters
    ----------
    embedding
        `(N, D)`.
    codes
        `(N, m)` class codes, integers.
    splits
        Training and test positions, as `folds` gives them.

    Returns
    -------
    ndarray
        `(N, m)` class codes; 0 for items that are never tested.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import balanced_accuracy, folds, probe_labels
    >>> codes = np.arange(60) % 3
    >>> embedding = np.eye(3)[codes] + 0.1 * np.random.default_rng(0).normal(size=(60, 3))
    >>> found = probe_labels(embedding, codes[:, None], list(folds(np.arange(60) // 10)))
    >>> balanced_accuracy(codes, found[:, 0])
    1.0
    """
    from sklearn.linear_model import RidgeCV

    classes = np.unique(codes)
    label = np.zeros(codes.shape, dtype=codes.dtype)
    for train, test in splits:
        seen, unseen = _in_span(*standardise(embedding[train], embedding[test]))
        for columns in _few_columns(codes, len(classes)):
            belongs = (codes[train, columns][:, :, None] == classes).astype(float)  # (t, m, k)
            model = RidgeCV(alphas=ALPHAS, alpha_per_target=True)
            model.fit(seen, belongs.reshape(len(train), -1))
            members, share = belongs.sum(0), belongs.mean(0)  # (m, k)
            # If nothing was fitted, rounding must not decide: it depends on the training classes.
            fitted = (model.predict(seen).reshape(belongs.shape) - share).round(DIGITS)
            asked = (model.predict(unseen).reshape(len(test), *share.shape) - share).round(DIGITS)
            centres = np.einsum("tmc,tmk->mck", belongs, fitted) / np.maximum(members, 1)[..., None]
            asked = asked[:, :, None]
            distance = ((asked - centres) ** 2).sum(-1)  # (u, m, k)
            label[test, columns] = classes[np.where(members > 0, distance, np.inf).argmin(-1)]
    return label


def neighbour_labels(embedding: Array, codes: Array, splits: Splits, k: int = NEIGHBOURS) -> Array:
    """Out-of-fold classes by k nearest neighbours, for every column of the target.

    Neighbours are found by cosine among the standardised training items, and each vote is divided
    by the frequency of its class.

    Parameters
    ----------
    embedding
        `(N, D)`.
    codes
        `(N, m)` class codes, integers.
    splits
        Training and test positions, as `folds` gives them.
    k
        Neighbours that vote, or all training items if they are fewer.

    Returns
    -------
    ndarray
        `(N, m)` class codes; 0 for items that are never tested.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import balanced_accuracy, folds, neighbour_labels
    >>> codes = np.arange(60) % 3
    >>> embedding = np.eye(3)[codes] + 0.1 * np.random.default_rng(0).normal(size=(60, 3))
    >>> found = neighbour_labels(embedding, codes[:, None], list(folds(np.arange(60) // 10)))
    >>> balanced_accuracy(codes, found[:, 0])
    1.0
    """
    classes = np.unique(codes)
    label = np.zeros(codes.shape, dtype=codes.dtype)
    for train, test in splits:
        near = _nearest(*standardise(embedding[train], embedding[test]), min(k, len(train)))
        for columns in _few_columns(codes, len(classes)):
            known = codes[train, columns]
            share = (known[:, :, None] == classes).mean(axis=0)  # (m, classes)
            votes = (known[near][..., None] == classes).sum(axis=1)  # (t, m, classes)
            label[test, columns] = classes[(votes / np.maximum(share, 1e-12)).argmax(axis=2)]
    return label


def _in_span(seen: Array, unseen: Array) -> tuple[Array, Array]:
    """Coordinates in the span of fewer training rows than features.

    Ridge regression gives no weight to any other direction, so its predictions are the same, and it
    takes a tenth of the time at ten times as many features as rows.
    """
    if seen.shape[1] <= len(seen):
        return seen, unseen
    squares, axes = np.linalg.eigh(seen @ seen.T)
    kept = squares > SPAN * squares[-1]
    if not kept.any():
        return seen[:, :1], unseen[:, :1]  # all zeros
    length = np.sqrt(squares[kept])
    return axes[:, kept] * length, unseen @ seen.T @ (axes[:, kept] / length)


def _nearest(seen: Array, unseen: Array, k: int) -> Array:
    """Positions of the k most similar of `seen`; of equally similar ones, the first.

    Selections by partition alone leave equal ones to the order of their sums, which differs from
    one release of NumPy to the next.
    """
    seen, unseen = unit_rows(seen), unit_rows(unseen)
    near = np.empty((len(unseen), k), np.intp)
    for block in blocks_of(len(unseen), max(1, ENTRIES // len(seen))):
        similar = (unseen[block] @ seen.T).round(DIGITS)
        least = np.partition(similar, -k, axis=1)[:, -k]
        row, place = np.nonzero(similar >= least[:, None])
        near[block] = place[k_nearest(row, place, -similar[row, place], k)]
    return near


def _few_columns(codes: Array, each: int) -> Iterator[slice]:
    """Blocks of columns such that `each` numbers per entry stay within `INDICATORS`."""
    step = max(1, INDICATORS // max(1, len(codes) * each))
    for start in range(0, codes.shape[1], step):
        yield slice(start, start + step)
