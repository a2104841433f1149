"""Scores of the same embedding by other readouts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import EvaluationError

from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import Question, Score
from ..metrics._matrix import standardise
from ..metrics._probes import folds, neighbour_labels, probe_labels, ridge
from ..metrics._scores import balanced_accuracy, macro_f1, majority_baseline, z_prime
from .study import Study, scored

Array = NDArray[Any]
NEIGHBOURS = (1, 5, 20)


def readouts(study: Study) -> Diagnostic:
    """Score other readouts of the same embedding, compared with the majority class."""
    findings: list[Finding] = []
    not_computed: list[str] = []
    done: set[tuple[str, str]] = set()
    for question in study.questions:
        kind = "separation" if question.task.kind == "separation" else "classes"
        key = (question.task.title, kind)
        if question.task.kind not in ("knn", "probe", "separation") or key in done:
            continue
        done.add(key)
        fewest = min(len(train) for train, _ in folds(question.groups))
        not_computed += [
            f"{question.task.title}, {k}-NN: a fold has only {fewest} training items."
            for k in NEIGHBOURS
            if k > fewest and kind == "classes"
        ]
        for name, matrix in study.matrices.items():
            rows = matrix[question.items]
            for score in _read_out(question, rows):
                findings.append(
                    scored(question, [score], encoder=name, condition="", seed=study.seed)
                )
        if kind == "classes":
            baseline = majority_baseline(question.truth)
            findings += [
                Finding(
                    encoder="majority class",
                    quantity=f"{question.task.title}, {metric}",
                    value=value,
                    n_items=len(question.items),
                    n_groups=len(np.unique(question.groups)),
                    fitted_on="all labels",
                )
                for metric, value in baseline.items()
            ]
    return Diagnostic(
        name="readouts",
        title="Other readouts",
        how_to_read=(
            "Nearest neighbours, ridge and logistic probes, by balanced accuracy and macro-F1, for "
            "the same labels and folds. The ridge probe is the linear probe of the scores: ridge "
            "regression on class indicators with optimal scoring. A result that holds for a single "
            "readout is a property of that readout."
        ),
        findings=tuple(findings),
        not_computed=tuple(not_computed) if findings else ("No task has classes.",),
    )


def _read_out(question: Question, rows: Array) -> Iterator[Score]:
    splits = list(folds(question.groups))
    nothing = np.zeros(0)
    if question.task.kind == "separation":
        positive = question.truth == np.unique(question.truth)[1]
        shift = ridge(rows, positive[:, None].astype(float), splits)[0][:, 0]
        yield Score(
            "separation",
            "Z′",
            lambda i: z_prime(shift[i][positive[i]], shift[i][~positive[i]]),
            nothing,
        )
        return
    codes = np.unique(question.truth, return_inverse=True)[1]
    asked = codes[:, None]
    fewest = min(len(train) for train, _ in splits)
    labels = {
        f"{k}-NN": neighbour_labels(rows, asked, splits, k)[:, 0] for k in NEIGHBOURS if k <= fewest
    }
    labels["ridge probe"] = probe_labels(rows, asked, splits)[:, 0]
    labels["logistic probe"] = _logistic(rows, codes, splits)
    for readout, label in labels.items():
        for metric, value in (("balanced accuracy", balanced_accuracy), ("macro-F1", macro_f1)):
            yield Score(
                "probe",
                f"{readout} {metric}",
                lambda i, label=label, value=value: value(codes[i], label[i]),  # type: ignore[misc]
                nothing,
            )


def _logistic(rows: Array, codes: Array, splits: list[tuple[Array, Array]]) -> Array:
    from sklearn.linear_model import LogisticRegression

    found = np.zeros_like(codes)
    for train, test in splits:
        if len(np.unique(codes[train])) < 2:
            raise EvaluationError("a training fold has a single class")
        seen, unseen = standardise(rows[train], rows[test])
        # Scaled by the number of features, so that the penalty is comparable between encoders.
        scale = 1 / np.sqrt(rows.shape[1])
        model = LogisticRegression(max_iter=5000, tol=1e-3, class_weight="balanced")
        found[test] = model.fit(seen * scale, codes[train]).predict(unseen * scale)
    return found
