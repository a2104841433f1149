"""Tasks: out-of-fold predictions from embeddings, and scores that can be resampled.

All models are fitted on training folds, and folds never split a group. Every score is also
computed for permuted labels in the same folds, because pooling the predictions of several folds
shifts the chance level if labels are unevenly distributed over groups.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import EvaluationError, Task

from .._data.dataset import Dataset
from .._data.design import design_of
from ..metrics._precision import average_precision, rank_other_groups
from ..metrics._probes import NEIGHBOURS, check_splits, folds, neighbour_labels, probe_labels, ridge
from ..metrics._scores import balanced_accuracy, r_squared, roc_auc, spearman

Array = NDArray[Any]
Splits = Sequence[tuple[Array, Array]]
COMPARISONS = 2**30


@dataclass(frozen=True)
class Question:
    """A task with the items of a table that it applies to.

    Parameters
    ----------
    task
        The task.
    items
        Rows of the table, `(n,)`.
    truth, groups
        True label and independent unit of each item, `(n,)`.
    left_out
        Why further rows are left out, besides the task's own selection.
    """

    task: Task
    items: Array
    truth: Array
    groups: Array
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """A score that can be computed on resamples, with its permutation null.

    Parameters
    ----------
    metric
        Name of the metric.
    at
        Maps positions among the question's items, with repeats, to the score.
    null
        Scores of the same embedding for permuted labels, `(permutations,)`.
    note
        Items left out to limit the computing time.
    """

    metric: str
    at: Callable[[Array], float]
    null: NDArray[np.float64]
    note: str = ""


def pose_tasks(dataset: Dataset) -> list[Question]:
    """Apply all tasks of a dataset's design to its table.

    Raises
    ------
    EvaluationError
        As `pose_task`, and for a dataset without a design.
    """
    design = design_of(dataset)
    return [pose_task(task, dataset.metadata, design.group) for task in design.tasks]


def pose_task(task: Task, metadata: pd.DataFrame, group: str) -> Question:
    """Apply a task to a table.

    Raises
    ------
    EvaluationError
        For fewer than two classes or groups, or nothing to retrieve.
    """
    chosen = np.ones(len(metadata), dtype=bool)
    for column, values in task.where.items():
        chosen &= metadata[column].isin(values).to_numpy()
    known = metadata[task.target].notna().to_numpy() & metadata[group].notna().to_numpy()
    left_out = []
    if (missing := int((chosen & ~known).sum())) > 0:
        left_out.append(f"{missing} item(s) without {task.target} or {group}")
    chosen &= known
    what = f"{task.title} ({task.kind})"
    units = metadata[group][chosen].unique()
    if len(units) == 1:
        raise EvaluationError(
            f"{what} needs two groups of {group} to hold one out, but there is only {units[0]}"
        )
    if task.kind in ("knn", "probe", "retrieval"):
        table = metadata[chosen].groupby(task.target)[group].nunique()
        single = metadata[task.target].isin(table.index[table < 2]).to_numpy() & chosen
        if single.any():
            left_out.append(
                f"{int(single.sum())} item(s) whose {task.target} occurs in one {group} only"
            )
            chosen &= ~single
    truth = metadata[task.target].to_numpy()[chosen]
    groups = metadata[group].to_numpy()[chosen]
    if len(np.unique(truth)) < 2:
        seen = f"only {truth[0]}" if len(truth) else "nothing"
        note = f" ({'; '.join(left_out)})" if left_out else ""
        raise EvaluationError(f"{what} needs two values of {task.target}, but has {seen}{note}")
    if task.kind == "separation" and len(np.unique(truth)) != 2:
        raise EvaluationError(
            f"{what} separates two classes, but there are {len(np.unique(truth))}"
        )
    return Question(task, np.flatnonzero(chosen), truth, groups, tuple(left_out))


def score_task(
    question: Question,
    embedding: Array,
    *,
    permutations: int = 0,
    seed: int = 0,
    splits: Splits | None = None,
) -> list[Score]:
    """Score an embedding, given for the question's items only, `(n, D)`.

    Parameters
    ----------
    question, embedding
        The task, and the embedding of its items.
    permutations, seed
        Number of label permutations for `Score.null`, and their random seed.
    splits
        Positions for training and for testing, by default `folds`; items that are never tested
        have no prediction. Retrieval has no training and ranks the items of all other groups.

    Raises
    ------
    EvaluationError
        For a split that divides a group.
    """
    truth, groups = question.truth, question.groups
    orders = permute(truth, groups, permutations, seed)
    pairs = list(folds(groups)) if splits is None else check_splits(splits, groups)
    match question.task.kind:
        case "dose":
            doses = truth.astype(float)[orders]  # (n, 1 + permutations)
            shift, base = ridge(embedding, doses, pairs)
            return [
                _score("Spearman ρ", spearman, doses, shift),
                _score("R²", r_squared, doses, shift + base),
            ]
        case "separation":
            positive = (truth == np.unique(truth)[1])[orders]
            shift, _ = ridge(embedding, positive.astype(float), pairs)
            return [_score("ROC AUC", roc_auc, positive, shift)]
        case "retrieval":
            labels = np.unique(truth, return_inverse=True)[1][orders]
            precision, note = _retrieve(embedding, labels, groups, seed)
            null = np.array([_mean(column) for column in precision.T[1:]])
            return [Score("mAP across groups", lambda i: _mean(precision[i, 0]), null, note)]
        case kind:
            codes = np.unique(truth, return_inverse=True)[1][orders]
            if kind == "probe":
                label = probe_labels(embedding, codes, pairs)
                return [_score("linear probe balanced accuracy", balanced_accuracy, codes, label)]
            count = min(NEIGHBOURS, *(len(train) for train, _ in pairs))
            label = neighbour_labels(embedding, codes, pairs, count)
            # The name gives the number of neighbours, which is smaller for few items.
            return [_score(f"{count}-NN balanced accuracy", balanced_accuracy, codes, label)]


def permute(truth: Array, groups: Array, permutations: int, seed: int) -> Array:
    """Columns of positions, `(n, 1 + permutations)`: the identity, then permutations.

    Labels are permuted within groups, which keeps the class proportions of each group and with
    them any effect of the design on the score. If every group has a single label, labels are
    permuted between groups.
    """
    rng = np.random.default_rng(seed)
    names, codes = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(codes == g) for g in range(len(names))]
    columns = [np.arange(len(truth))]
    uniform = all(len(np.unique(truth[m])) == 1 for m in members)
    for _ in range(permutations):
        column = np.empty(len(truth), dtype=np.intp)
        if uniform:
            first = np.array([m[0] for m in members])
            column = first[rng.permutation(len(names))][codes]
        else:
            for m in members:
                column[m] = rng.permutation(m)
        columns.append(column)
    return np.stack(columns, axis=1)


def _score(
    metric: str, value: Callable[[Array, Array], float], truth: Array, answers: Array
) -> Score:
    pairs = zip(truth.T[1:], answers.T[1:], strict=True)
    null = np.array([value(t, a) for t, a in pairs])
    return Score(metric, lambda i: value(truth[i, 0], answers[i, 0]), null)


def _retrieve(embedding: Array, codes: Array, groups: Array, seed: int) -> tuple[Array, str]:
    """Average precision of each item for each column of labels, `(n, m)`, NaN if not a query.

    Beyond `COMPARISONS` comparisons only a random sample of the items are queries, as the note
    says.
    """
    n = len(codes)
    used = max(1, min(n, COMPARISONS // (n * codes.shape[1])))
    queries, note = np.ones(n, dtype=bool), ""
    if used < n:
        queries = np.isin(np.arange(n), np.random.default_rng(seed).choice(n, used, replace=False))
        note = f"{n - used} of {n} items as queries; a random {used} were used"
    precision = np.full(codes.shape, np.nan)
    for i, ranked in rank_other_groups(embedding, groups, queries):
        precision[i] = average_precision(codes[ranked] == codes[i])
    return precision, note


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
