"""Confounders: how well an embedding predicts them, and scores without them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._matrix import check_matrix, standardise
from ._probes import check_splits, folds, probe_labels, ridge
from ._scores import balanced_accuracy, r_squared

Array = NDArray[Any]
Splits = Iterable[tuple[Array, Array]]
Kind = Literal["regression", "classification"]


@dataclass(frozen=True)
class Confounding:
    """Cross-validated scores of one target with and without confounders.

    R² for regression: at most 1, about 0 or a little below by chance. Balanced accuracy for
    classification: in [0, 1], 1/classes by chance.

    Parameters
    ----------
    raw
        Of the embedding.
    residual
        Of the embedding after the confounders are regressed out. If the target itself changes a
        confounder, this removes biology as well.
    confounders
        Of the confounders alone.
    combined
        Of embedding and confounders side by side.
    """

    raw: float
    residual: float
    confounders: float
    combined: float

    @property
    def partial_gain(self) -> float:
        """Gain of embedding and confounders over the confounders alone.

        0 if the embedding knows no more than the confounders, and often below 0: dimensions without
        information cost a little.
        """
        return self.combined - self.confounders


def confounder_r_squared(
    embedding: Array,
    confounders: Mapping[str, Array],
    groups: Array,
    *,
    splits: Splits | None = None,
) -> dict[str, float]:
    """R² of each confounder predicted from the embedding, by ridge regression in grouped folds.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    confounders
        Numbers `(N,)` by name, such as intensity, cell count, area, focus or well position.
    groups
        `(N,)` independent unit of each item; no fold splits one.
    splits
        Training and test positions, by default `folds`. Every item is tested once.

    Returns
    -------
    dict
        By name, at most 1; about 0 or a little below by chance, and NaN for a constant confounder.

    Raises
    ------
    ValueError
        For NaN or infinite numbers, fewer than two groups, and splits that do not test every item
        once.
    EvaluationError
        For splits that separate members of a group.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import confounder_r_squared
    >>> rng = np.random.default_rng(0)
    >>> plate, truth, area = np.repeat(np.arange(6), 20), rng.normal(size=120), rng.normal(size=120)
    >>> embedding = np.stack([truth, area], 1) + 0.1 * rng.normal(size=(120, 2))
    >>> found = confounder_r_squared(embedding, {"area": area}, plate)
    >>> round(found["area"], 1)
    1.0
    """
    check_matrix(embedding)
    columns = _columns(confounders, len(embedding))
    shift, base = ridge(embedding, columns, _splits(splits, groups, len(embedding)))
    predicted = shift + base
    return {name: r_squared(columns[:, i], predicted[:, i]) for i, name in enumerate(confounders)}


def residualise(
    embedding: Array,
    confounders: Mapping[str, Array],
    fit_on: Array,
    *,
    groups: Array | None = None,
) -> Array:
    """Regress confounders out of an embedding by least squares; its mean stays.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    confounders
        Numbers `(N,)` by name. One that is constant where the regression is fitted is ignored.
    fit_on
        `(N,)` booleans: items that the regression is fitted on, those of a training fold or
        controls.
    groups
        `(N,)` independent unit of each item, if `fit_on` is a training fold. Leave it out for
        controls, which share their plates with other items.

    Returns
    -------
    ndarray
        `(N, D)`.

    Raises
    ------
    ValueError
        For NaN or infinite numbers, and fewer than two more items to fit on than confounders.
    EvaluationError
        For `fit_on` that holds only part of a group.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import residualise
    >>> rng = np.random.default_rng(0)
    >>> plate, truth, area = np.repeat(np.arange(6), 20), rng.normal(size=120), rng.normal(size=120)
    >>> embedding = np.stack([truth, area], 1) + 0.1 * rng.normal(size=(120, 2))
    >>> left = residualise(embedding, {"area": area}, np.ones(120, bool))
    >>> float(abs(np.corrcoef(left[:, 1], area)[0, 1]).round(6))
    0.0
    """
    check_matrix(embedding)
    columns = _columns(confounders, len(embedding))
    chosen = np.asarray(fit_on)
    if chosen.dtype != bool or chosen.shape != (len(embedding),):
        raise ValueError(f"fit_on must be {len(embedding)} booleans, one per item")
    if groups is not None:
        sides = (np.flatnonzero(chosen), np.flatnonzero(~chosen))
        check_splits([sides], np.asarray(groups))
    return _regress_out(embedding, columns, np.flatnonzero(chosen))


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
    """Cross-validated scores of an embedding with and without confounders.

    Ridge regression predicts numbers, and a linear probe (`probe_labels`) classes, in the same
    grouped folds for all four scores.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    truth
        `(N,)` target: numbers, or classes of any type.
    confounders
        Numbers `(N,)` by name.
    groups
        `(N,)` independent unit of each item; no fold splits one.
    kind
        Whether `truth` is numbers, ``"regression"``, or classes, ``"classification"``.
    controls
        `(N,)` booleans; if given, confounders are regressed out by a fit on the controls of each
        training fold only, else by a fit on the whole training fold.
    splits
        Training and test positions, by default `folds`. Every item is tested once.

    Returns
    -------
    Confounding
        R² or balanced accuracy.

    Raises
    ------
    ValueError
        For NaN or infinite numbers, missing or constant `truth`, fewer than two groups, too few
        items to fit on, and splits that do not test every item once.
    EvaluationError
        For splits that separate members of a group.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import confounding
    >>> rng = np.random.default_rng(0)
    >>> plate, truth, area = np.repeat(np.arange(6), 20), rng.normal(size=120), rng.normal(size=120)
    >>> embedding = np.stack([truth, area], 1) + 0.1 * rng.normal(size=(120, 2))
    >>> found = confounding(embedding, truth, {"area": area}, plate, kind="regression")
    >>> round(found.residual, 1), found.confounders < 0.1
    (1.0, True)
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
        raise ValueError(f"truth has only one value, {answers[0]}, so there is nothing to predict")
    if kind == "regression":
        answers = answers.astype(float)
        check_matrix(answers[:, None], "truth")
    else:
        answers = np.unique(answers, return_inverse=True)[1]
    if controls is not None and (controls.dtype != bool or controls.shape != (n,)):
        raise ValueError(f"controls must be {n} booleans, one per item")

    predicted = {name: np.zeros_like(answers) for name in ("raw", "residual", "alone", "both")}
    for train, test in _splits(splits, groups, n):
        fit_on = train if controls is None else train[controls[train]]
        views = {
            "raw": embedding,
            "residual": _regress_out(embedding, columns, fit_on),
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
        raise ValueError("at least one confounder is required")
    columns = []
    for name, values in confounders.items():
        column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
        check_matrix(column, f"confounder {name}", rows=n)
        columns.append(column)
    return np.hstack(columns)


def _splits(splits: Splits | None, groups: Array, n: int) -> list[tuple[Array, Array]]:
    units = np.asarray(groups)
    if units.shape != (n,):
        raise ValueError(f"groups have shape {units.shape}, but the embedding has {n} rows")
    if len(known := np.unique(units)) < 2:
        raise ValueError(f"grouped folds need two groups, but there is only {known[0]}")
    pairs = [
        (np.asarray(a), np.asarray(b)) for a, b in (folds(units) if splits is None else splits)
    ]
    tested = np.zeros(n, dtype=int)
    for _, test in check_splits(pairs, units):
        np.add.at(tested, test, 1)
    if (wrong := int((tested != 1).sum())) > 0:
        raise ValueError(f"the splits must test every item once, but {wrong} of {n} are not")
    return pairs


def _regress_out(embedding: Array, columns: Array, fit_on: Array) -> Array:
    least = columns.shape[1] + 2
    if len(fit_on) < least:
        raise ValueError(
            f"a regression on {columns.shape[1]} confounder(s) needs {least} items to fit on, "
            f"but has {len(fit_on)}"
        )
    seen, everything = standardise(columns[fit_on], columns)
    # Confounders are centred on these items, so no intercept is needed.
    slopes = np.linalg.lstsq(seen, embedding[fit_on].astype(np.float64), rcond=None)[0]
    return embedding - everything @ slopes
