"""What a dataset asks of an embedding: out-of-fold answers, and scores that can be resampled.

Whatever is fitted is fitted on training folds, and folds never split a group.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import EvaluationError, Task

from ._metrics import (
    balanced_accuracy,
    expected_precision,
    r_squared,
    retrieval_precision,
    roc_auc,
    spearman,
)

Array = NDArray[Any]
MAX_FOLDS = 10
NEIGHBOURS = 5


@dataclass(frozen=True)
class Question:
    """A task on a table: who takes part, what is asked, and who belongs together.

    Parameters
    ----------
    task
        The task.
    items
        Rows of the table that take part, `(n,)`.
    truth, groups
        Answer and independent unit of each, `(n,)`.
    left_out
        Why rows do not take part, beyond the task's own choice.
    """

    task: Task
    items: Array
    truth: Array
    groups: Array
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """One number, and how to compute it anew on a resample.

    Parameters
    ----------
    metric
        Name with its symbol.
    chance
        Value of an embedding that knows nothing.
    of
        Maps positions among the question's items, with repeats, to the score.
    """

    metric: str
    chance: float
    of: Callable[[Array], float]


def ask(task: Task, metadata: pd.DataFrame, group: str) -> Question:
    """Pose a task to a table.

    Raises
    ------
    EvaluationError
        When fewer than two classes or groups take part, or nothing can be retrieved.
    """
    chosen = np.ones(len(metadata), dtype=bool)
    for column, values in task.where.items():
        chosen &= metadata[column].isin(values).to_numpy()
    known = metadata[task.target].notna().to_numpy() & metadata[group].notna().to_numpy()
    left_out = []
    if (missing := int((chosen & ~known).sum())) > 0:
        left_out.append(f"{missing} item(s) without {task.target} or {group}")
    chosen &= known
    truth = metadata[task.target].to_numpy()[chosen]
    groups = metadata[group].to_numpy()[chosen]
    what = f"{task.title} ({task.kind})"
    if len(np.unique(truth)) < 2:
        seen = f"only {truth[0]!r}" if len(truth) else "nothing"
        raise EvaluationError(f"{what} needs two values of {task.target}, but there is {seen}")
    if len(np.unique(groups)) < 2:
        raise EvaluationError(
            f"{what} needs two groups of {group} to hold one out, but there is only {groups[0]!r}"
        )
    items = np.flatnonzero(chosen)
    if task.kind == "retrieval":
        alone = ~np.isfinite(retrieval_precision(np.zeros((len(truth), 1)), truth, groups))
        if alone.all():
            raise EvaluationError(
                f"{what}: no {task.target} occurs in two groups of {group}, so that nothing can "
                "be retrieved from another group"
            )
        if alone.any():
            left_out.append(f"{int(alone.sum())} item(s) without a replicate in another {group}")
    return Question(task, items, truth, groups, tuple(left_out))


def answer(question: Question, embedding: Array) -> list[Score]:
    """Score an embedding, given for the question's items only, `(n, D)`."""
    truth, groups = question.truth, question.groups
    match question.task.kind:
        case "dose":
            doses = truth.astype(float)
            predicted = _out_of_fold(embedding, doses, groups, _ridge)
            return [
                Score("Spearman ρ", 0.0, lambda i: spearman(doses[i], predicted[i])),
                Score("R²", 0.0, lambda i: r_squared(doses[i], predicted[i])),
            ]
        case "separation":
            classes = np.unique(truth)
            if len(classes) != 2:
                raise EvaluationError(
                    f"{question.task.title} separates two classes, but there are {len(classes)}"
                )
            positive = truth == classes[1]
            decision = _out_of_fold(embedding, positive, groups, _logistic_decision)
            return [Score("ROC AUC", 0.5, lambda i: roc_auc(positive[i], decision[i]))]
        case "retrieval":
            precision = retrieval_precision(embedding, truth, groups)
            chance = float(np.mean(_expected(truth, groups)))
            return [Score("mAP", chance, lambda i: _mean(precision[i]))]
        case kind:
            fit = _neighbours if kind == "knn" else _logistic
            codes = np.unique(truth, return_inverse=True)[1]
            label = _out_of_fold(embedding, codes, groups, fit)
            name = f"{NEIGHBOURS}-NN" if kind == "knn" else "linear probe"
            chance = 1 / len(np.unique(codes))
            return [
                Score(
                    f"{name} balanced accuracy",
                    chance,
                    lambda i: balanced_accuracy(codes[i], label[i]),
                )
            ]


def folds(groups: Array) -> Iterator[tuple[Array, Array]]:
    """Positions for training and for testing, `MAX_FOLDS` times at most; no group is ever split."""
    from sklearn.model_selection import GroupKFold

    count = min(len(np.unique(groups)), MAX_FOLDS)
    for train, test in GroupKFold(count).split(groups, groups=groups):
        if set(groups[train]) & set(groups[test]):
            raise EvaluationError("a fold separates members of one group")
        yield train, test


Fit = Callable[[Array, Array, Array], Array]


def _out_of_fold(embedding: Array, target: Array, groups: Array, fit: Fit) -> Array:
    """Answer for every item by a model that never saw its group; features scaled on training."""
    result = np.zeros(len(target), dtype=float)
    for train, test in folds(groups):
        known = target[train]
        if len(np.unique(known)) < 2:
            raise EvaluationError("a training fold holds one class only: groups and classes agree")
        centre, spread = embedding[train].mean(0), embedding[train].std(0)
        spread = np.where(spread > 0, spread, 1.0)
        seen, unseen = (embedding[train] - centre) / spread, (embedding[test] - centre) / spread
        result[test] = fit(seen, known, unseen)
    return result


def _turn(seen: Array, unseen: Array) -> tuple[Array, Array]:
    """Turn features into the space that the training items span.

    Models with an L2 penalty give the same answers there, at the cost of n columns and not D.
    """
    if seen.shape[1] <= seen.shape[0]:
        return seen, unseen
    basis = np.linalg.svd(seen.astype(np.float64), full_matrices=False)[2]
    return seen @ basis.T, unseen @ basis.T


def _ridge(seen: Array, known: Array, unseen: Array) -> Array:
    from sklearn.linear_model import RidgeCV

    seen, unseen = _turn(seen, unseen)
    model = RidgeCV(alphas=np.logspace(-1, 5, 13)).fit(seen, known)
    return model.predict(unseen)  # type: ignore[no-any-return]


def _classifier(seen: Array, known: Array) -> Any:
    from sklearn.linear_model import LogisticRegression

    # A penalty that grows with the number of features keeps wide and narrow embeddings alike.
    model = LogisticRegression(C=1 / max(seen.shape[1], 1) ** 0.5, max_iter=2000)
    return model.fit(seen, known)


def _logistic(seen: Array, known: Array, unseen: Array) -> Array:
    seen, unseen = _turn(seen, unseen)
    return _classifier(seen, known).predict(unseen)  # type: ignore[no-any-return]


def _logistic_decision(seen: Array, known: Array, unseen: Array) -> Array:
    seen, unseen = _turn(seen, unseen)
    return _classifier(seen, known).decision_function(unseen)  # type: ignore[no-any-return]


def _neighbours(seen: Array, known: Array, unseen: Array) -> Array:
    from sklearn.neighbors import KNeighborsClassifier

    count = min(NEIGHBOURS, len(seen))
    model = KNeighborsClassifier(count, metric="cosine").fit(seen, known)
    return model.predict(unseen)  # type: ignore[no-any-return]


def _expected(truth: Array, groups: Array) -> list[float]:
    values = []
    for label, group in zip(truth, groups, strict=True):
        others = groups != group
        positives, total = int((truth[others] == label).sum()), int(others.sum())
        if 0 < positives < total:
            values.append(expected_precision(positives, total))
    return values


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
