"""Tasks: out-of-fold predictions from embeddings, and scores that can be resampled.

All models are fitted on training folds, and folds never split a group. Every score is also
computed for permuted labels in the same folds, because pooling the predictions of several folds
shifts the chance level if labels are unevenly distributed over groups.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from zoo.registry import EvaluationError, Task

from .._data.dataset import Dataset
from .._data.design import design_of
from ..metrics._probes import NEIGHBOURS, check_splits, folds, neighbour_labels, probe_labels, ridge
from ..metrics._scores import balanced_accuracy, r_squared, roc_auc, spearman
from .retrieval import mean_known, retrieve

Array = NDArray[Any]
Splits = Sequence[tuple[Array, Array]]


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
    kind, metric
        Kind of the task, and name of the metric.
    at
        Maps positions among the question's items, with repeats, to the score.
    null
        Scores of the same embedding for permuted labels, `(permutations,)`.
    without
        Maps positions to the scores of each block of groups (rows) without each block (columns) and
        to the items in each block, `(blocks, blocks)` and `(blocks,)`; None for scores of
        out-of-fold predictions, which can be resampled.
    note
        Items left out to limit the computing time.
    """

    kind: str
    metric: str
    at: Callable[[Array], float]
    null: NDArray[np.float64]
    without: Callable[[Array], tuple[Array, Array]] | None = None
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
    kind = question.task.kind
    score = partial(_score, kind)
    match kind:
        case "dose":
            doses = truth.astype(float)[orders]  # (n, 1 + permutations)
            shift, base = ridge(embedding, doses, pairs)
            return [
                score("Spearman ρ", spearman, doses, shift),
                score("R²", r_squared, doses, shift + base),
            ]
        case "separation":
            positive = (truth == np.unique(truth)[1])[orders]
            shift, _ = ridge(embedding, positive.astype(float), pairs)
            return [score("ROC AUC", roc_auc, positive, shift)]
        case "retrieval":
            labels = np.unique(truth, return_inverse=True)[1][orders]
            found = retrieve(embedding, labels, groups, seed)
            return [
                Score(
                    kind,
                    "mAP across groups",
                    lambda i: mean_known(found.precision[i, 0]),
                    np.array([mean_known(column) for column in found.precision.T[1:]]),
                    found.scores_without,
                    found.note,
                )
            ]
        case "probe":
            codes = np.unique(truth, return_inverse=True)[1][orders]
            label = probe_labels(embedding, codes, pairs)
            return [score("linear probe balanced accuracy", balanced_accuracy, codes, label)]
        case "knn":
            codes = np.unique(truth, return_inverse=True)[1][orders]
            count = min(NEIGHBOURS, *(len(train) for train, _ in pairs))
            label = neighbour_labels(embedding, codes, pairs, count)
            # The name gives the number of neighbours, which is smaller for few items.
            return [score(f"{count}-NN balanced accuracy", balanced_accuracy, codes, label)]


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
    uniform = _uniform(truth, groups)
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


def distinct_labelings(question: Question) -> float:
    """Count the labelings that `permute` can give and that differ for a readout.

    A readout does not know the names of classes: labelings that exchange two classes of the same
    size are one, and so are doses in reverse order.
    """
    truth, groups = question.truth, question.groups
    labels = np.unique(truth, return_inverse=True)[1]
    table = pd.crosstab(groups, labels).to_numpy()  # (groups, labels)
    if _uniform(truth, groups):
        table = np.bincount((table > 0).argmax(1))[None]
    logs = gammaln(table.sum(1) + 1).sum() - gammaln(table + 1).sum()
    total = table.sum(0)
    if question.task.kind == "dose":
        same = 2 if np.array_equal(total, total[::-1]) else 1
        logs -= np.log(same)
    else:
        logs -= gammaln(np.unique(total, return_counts=True)[1] + 1).sum()
    return float(np.exp(min(logs, 700)).round())


def _uniform(truth: Array, groups: Array) -> bool:
    """Whether every group has a single label."""
    return bool(pd.Series(truth).groupby(groups).nunique().max() == 1)


def _score(
    kind: str, metric: str, value: Callable[[Array, Array], float], truth: Array, answers: Array
) -> Score:
    pairs = zip(truth.T[1:], answers.T[1:], strict=True)
    null = np.array([value(t, a) for t, a in pairs])
    return Score(kind, metric, lambda i: value(truth[i, 0], answers[i, 0]), null)
