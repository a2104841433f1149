"""What of a score a few simple measurements could have given."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._matrix import check_matrix, standardise
from ._probes import checked, folds, probe_labels, ridge
from ._scores import balanced_accuracy, r_squared

Array = NDArray[Any]
Splits = Iterable[tuple[Array, Array]]
Kind = Literal["regression", "classification"]


@dataclass(frozen=True)
class Confounding:
    """Scores of one target with and without confounders, all out of fold.

    R² for regression: at most 1, about 0 or a little below by chance. Balanced accuracy for
    classification: in [0, 1], 1/classes by chance.

    Parameters
    ----------
    raw
        Of the embedding.
    residual
        Of the embedding without what confounders predict of it. If the target itself moves a
        confounder, this takes away biology as well.
    confounders
        Of the confounders alone.
    together
        Of embedding and confounders side by side.
    """

    raw: float
    residual: float
    confounders: float
    together: float

    @property
    def partial_gain(self) -> float:
        """What the embedding adds to the confounders.

        0 if it knows no more than they do, and often below: dimensions without information cost
        a little.
        """
        return self.together - self.confounders


def confounder_r_squared(
    embedding: Array,
    confounders: Mapping[str, Array],
    groups: Array,
    *,
    splits: Splits | None = None,
) -> dict[str, float]:
    """R² of each confounder as ridge regression predicts it from the embedding, out of fold.

    At most 1, about 0 or a little below by chance; NaN for a confounder that is constant.

    Parameters
    ----------
    embedding
        `(N, D)`.
    confounders
        Numbers by name, such as intensity, count, area, focus, row or column, each `(N,)`.
    groups
        Independent unit of each item, `(N,)`; no fold splits one.
    splits
        Positions for training and for testing, by default grouped folds. Every item is tested
        once.

    Raises
    ------
    ValueError
        For NaN or infinite numbers, fewer than two groups, and splits that do not test every item
        once.
    EvaluationError
        For splits that separate members of a group.
    """
    check_matrix(embedding)
    columns = _columns(confounders, len(embedding))
    shift, base = ridge(embedding, columns, _checked(splits, groups, len(embedding)))
    predicted = shift + base
    return {name: r_squared(columns[:, i], predicted[:, i]) for i, name in enumerate(confounders)}


def residualise(
    embedding: Array,
    confounders: Mapping[str, Array],
    fit_on: Array,
    *,
    groups: Array | None = None,
) -> Array:
    """Subtract from an embedding what is linear in the confounders, `(N, D)`; its mean stays.

    Parameters
    ----------
    embedding
        `(N, D)`.
    confounders
        Numbers by name, each `(N,)`. One that is constant where the regression is fitted is left
        out of it.
    fit_on
        Items that the least-squares regression is fitted on, `(N,)` booleans: those of a training
        fold, or controls.
    groups
        Independent unit of each item, `(N,)`, for `fit_on` that is a training fold. Leave it out
        for controls, which share their plates with the rest.

    Raises
    ------
    ValueError
        For NaN or infinite numbers, and fewer than two more items to fit on than confounders.
    EvaluationError
        For `fit_on` that holds one part of a group only.
    """
    check_matrix(embedding)
    columns = _columns(confounders, len(embedding))
    chosen = np.asarray(fit_on)
    if chosen.dtype != bool or chosen.shape != (len(embedding),):
        raise ValueError(f"fit_on must be {len(embedding)} booleans, one for each item")
    if groups is not None:
        sides = (np.flatnonzero(chosen), np.flatnonzero(~chosen))
        checked([sides], np.asarray(groups))
    return _subtract(embedding, columns, np.flatnonzero(chosen))


def confounding(
    embedding: Array,
    truth: Array,
    confounders: Mapping[str, Array],
    groups: Array,
    *,
    kind: Kind,
    controls: Array | None = None,
    splits: Splits | None = None,
) -> Confounding:
    """Score an embedding beside confounders, by ridge regression in the same grouped folds.

    Parameters
    ----------
    embedding
        `(N, D)`.
    truth
        What is predicted, `(N,)`: numbers, or classes of any type.
    confounders
        Numbers by name, each `(N,)`.
    groups
        Independent unit of each item, `(N,)`; no fold splits one.
    kind
        Whether `truth` is numbers or classes.
    controls
        Items, `(N,)` booleans; if given, the regression on confounders is fitted on those of each
        training fold only, else on the whole training fold.
    splits
        Positions for training and for testing, by default grouped folds. Every item is tested
        once.

    Raises
    ------
    ValueError
        For NaN or infinite numbers, missing or constant `truth`, fewer than two groups, too few
        items to fit on, and splits that do not test every item once.
    EvaluationError
        For splits that separate members of a group.
    """
    import pandas as pd

    check_matrix(embedding)
    n = len(embedding)
    columns = _columns(confounders, n)
    answers = np.asarray(truth)
    if answers.shape != (n,):
        raise ValueError(f"truth has shape {answers.shape}, but the embedding has {n} rows")
    if (missing := int(pd.isna(answers).sum())) > 0:
        raise ValueError(f"truth is missing for {missing} of {n} items")
    if len(np.unique(answers)) < 2:
        raise ValueError(f"truth has one value only, {answers[0]}: nothing can be predicted")
    if kind == "regression":
        answers = answers.astype(float)
        check_matrix(answers[:, None], "truth")
    else:
        answers = np.unique(answers, return_inverse=True)[1]
    if controls is not None and (controls.dtype != bool or controls.shape != (n,)):
        raise ValueError(f"controls must be {n} booleans, one for each item")

    predicted = {name: np.zeros_like(answers) for name in ("raw", "residual", "alone", "both")}
    for train, test in _checked(splits, groups, n):
        fit_on = train if controls is None else train[controls[train]]
        views = {
            "raw": embedding,
            "residual": _subtract(embedding, columns, fit_on),
            "alone": columns,
            "both": np.hstack([embedding, columns]),
        }
        for name, view in views.items():
            if kind == "regression":
                shift, base = ridge(view, answers[:, None], [(train, test)])
                found = shift + base
            else:
                found = probe_labels(view, answers[:, None], [(train, test)])
            predicted[name][test] = found[test, 0]
    score = r_squared if kind == "regression" else balanced_accuracy
    raw, residual, alone, both = (score(answers, found) for found in predicted.values())
    return Confounding(raw, residual, alone, both)


def _columns(confounders: Mapping[str, Array], n: int) -> Array:
    if not confounders:
        raise ValueError("name one confounder or more")
    columns = []
    for name, values in confounders.items():
        column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
        check_matrix(column, f"confounder {name}", rows=n)
        columns.append(column)
    return np.hstack(columns)


def _checked(splits: Splits | None, groups: Array, n: int) -> list[tuple[Array, Array]]:
    units = np.asarray(groups)
    if units.shape != (n,):
        raise ValueError(f"groups have shape {units.shape}, but the embedding has {n} rows")
    if len(known := np.unique(units)) < 2:
        raise ValueError(f"two groups are needed to hold one out, but there is only {known[0]}")
    pairs = [
        (np.asarray(a), np.asarray(b)) for a, b in (folds(units) if splits is None else splits)
    ]
    tested = np.zeros(n, dtype=int)
    for _, test in checked(pairs, units):
        np.add.at(tested, test, 1)
    if (wrong := int((tested != 1).sum())) > 0:
        raise ValueError(f"the splits must test every item once, but do not for {wrong} of {n}")
    return pairs


def _subtract(embedding: Array, columns: Array, fit_on: Array) -> Array:
    least = columns.shape[1] + 2
    if len(fit_on) < least:
        raise ValueError(
            f"a regression on {columns.shape[1]} confounder(s) needs {least} items to fit on, "
            f"but has {len(fit_on)}"
        )
    seen, everything = standardise(columns[fit_on], columns)
    # Confounders are centred on these items, so the slopes need no intercept beside them.
    slopes = np.linalg.lstsq(seen, embedding[fit_on].astype(np.float64), rcond=None)[0]
    return embedding - everything @ slopes
