"""How far scores carry, and how much of them is the way of reading out."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import EvaluationError

from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import (
    Question,
    Score,
    answer,
    folds,
    neighbour_labels,
    probe_labels,
    ridge,
)
from ..metrics._alignment import MIN_SHRINKAGE, centre_scale, pca_centre_scale, sphere, tvn
from ..metrics._scores import balanced_accuracy, macro_f1, majority_baseline, standardise, z_prime
from .study import Study, scored

Array = NDArray[Any]
REPEATS = 3
NEIGHBOURS = (1, 5, 20)
FITTED = ("dose", "separation", "knn", "probe")


def alignment(study: Study) -> Diagnostic:
    """Scores of embeddings as they are and aligned on negative controls, side by side."""
    control = study.negative
    controls = int(control.sum())
    batches = study.metadata[study.batch].astype(str).to_numpy()
    refused: list[str] = []
    said: list[str] = []
    wide: list[str] = []
    findings: list[Finding] = []
    if not control.any():
        refused.append("No negative controls are named, and there is nothing to align on.")
    for name, matrix in study.matrices.items() if control.any() else ():
        aligned: dict[str, Array] = {"raw": matrix}
        if controls <= matrix.shape[1]:
            wide.append(f"{name} ({matrix.shape[1]})")
        for method, align in _alignments(matrix, control, batches):
            try:
                aligned[method] = align()
            except ValueError as error:
                refused.append(f"{method}: {error}.".replace("..", "."))
        for question in study.questions:
            for method, rows in aligned.items():
                findings.append(
                    scored(
                        question,
                        answer(question, rows[question.items])[:1],
                        contender=name,
                        condition=method,
                        seed=study.seed,
                        fitted_on="training folds"
                        if method == "raw"
                        else f"{controls} negative controls, then training folds",
                    )
                )
    if wide:
        said.append(
            f"With {controls} negative controls, PCA and TVN keep at most {controls - 1} axes and "
            f"sphering shrinks; more dimensions have {', '.join(wide)}."
        )
    return Diagnostic(
        "alignment",
        "Raw and aligned",
        f"Profiles centred and scaled on the negative controls of each {study.batch}, after a PCA "
        "of the controls, by typical variation normalisation (TVN), and sphered. Read each beside "
        "the raw score, for controls too: alignment helps a control as it helps an encoder.",
        tuple(findings),
        tuple(said),
        tuple(dict.fromkeys(refused)),
    )


def _alignments(
    matrix: Array, control: Array, batches: Array
) -> Iterator[tuple[str, Callable[[], Array]]]:
    least = int(min(control[batches == b].sum() for b in np.unique(batches)))
    axes = max(1, min(matrix.shape[1], int(control.sum()) - 1))
    yield "centre-scale", lambda: centre_scale(matrix, control, batches, min_controls=2)
    yield (
        "PCA, centre-scale",
        lambda: pca_centre_scale(matrix, control, batches, components=axes, min_controls=2),
    )
    if least >= 2:
        yield "TVN", lambda: tvn(matrix, control, batches, components=axes, min_controls=2)
    shrinkage = 0.0 if control.sum() > 2 * matrix.shape[1] else 10 * MIN_SHRINKAGE
    method = "sphering" if shrinkage == 0 else f"sphering, shrinkage {shrinkage:g}"
    yield method, lambda: sphere(matrix, control, shrinkage=shrinkage)


def domains(study: Study) -> Diagnostic:
    """Scores where a whole batch, compound or cell line was never seen in training."""
    findings: list[Finding] = []
    refused: list[str] = []
    said: list[str] = []
    columns = dict.fromkeys((*study.spec.domains, *((study.spec.batch,) * bool(study.spec.batch))))
    for column in columns:
        if column == study.spec.group:
            refused.append(f"Every score already leaves a {column} out at a time.")
            continue
        for question in study.questions:
            if question.task.kind not in FITTED or question.task.target == column:
                continue
            values = study.metadata[column].astype(str).to_numpy()[question.items]
            inside, outside = _domain_splits(question, values)
            if len(outside) < 2:
                refused.append(
                    f"{question.task.title} ({question.task.kind}): fewer than two values of "
                    f"{column} can be left out, each with another to learn from."
                )
                continue
            tested = np.sort(np.concatenate([test for _, test in outside]))
            for name, matrix in study.matrices.items():
                rows = matrix[question.items]
                kept, left = (
                    answer(question, rows, splits=splits)[:1] for splits in (inside, outside)
                )
                more: dict[str, Any] = {"contender": name, "seed": study.seed, "items": tested}
                within = scored(question, kept, condition=f"within a {column}", **more)
                across = scored(
                    question,
                    left,
                    condition=f"{column} left out",
                    reference=within.value,
                    beside=f"within a {column}",
                    **more,
                )
                findings += [within, across]
                if name == study.subject:
                    said.append(
                        f"{within.quantity}: {within.value:.2f} within a {column}, "
                        f"{across.value:.2f} for one never seen."
                    )
    if not columns:
        refused.append("The dataset names no batch, cell line or compound to leave out.")
    return Diagnostic(
        "domains",
        "Out of distribution",
        "Trained on all values of a column but one and tested on that one, beside training on "
        "other groups with the same value. Classes or doses that occur in one value only stay in "
        "training.",
        tuple(findings),
        tuple(said),
        tuple(dict.fromkeys(refused)),
    )


def _domain_splits(
    question: Question, values: Array
) -> tuple[list[tuple[Array, Array]], list[tuple[Array, Array]]]:
    """Splits within each value and across values, testing the same items."""
    groups, truth = question.groups, question.truth
    varied = [v for v in np.unique(values) if len(np.unique(truth[values == v])) > 1]
    always = ~np.isin(values, varied)
    inside: list[tuple[Array, Array]] = []
    outside: list[tuple[Array, Array]] = []
    for value in varied:
        here = values == value
        units = np.unique(groups[here])
        apart = np.flatnonzero(~here & ~np.isin(groups, units))
        others_vary = np.isin(values[apart], varied).any()
        if len(units) < 2 or not others_vary or len(np.unique(truth[apart])) < 2:
            continue
        places = np.flatnonzero(here)
        outside.append((apart, places))
        for train, test in folds(groups[places]):
            others = np.flatnonzero(always & ~np.isin(groups, groups[places[test]]))
            inside.append((np.concatenate([places[train], others]), places[test]))
    return inside, outside


def learning(study: Study) -> Diagnostic:
    """Scores for more and more groups to learn from."""
    findings: list[Finding] = []
    refused: list[str] = []
    seen: set[str] = set()
    rng = np.random.default_rng(study.seed)
    for question in study.questions:
        if question.task.kind not in FITTED or question.task.kind in seen:
            continue
        seen.add(question.task.kind)
        units = len(np.unique(question.groups))
        sizes = sorted({m for m in (1, 2, 4, 8, 16, 32) if m < units - 1} | {units - 1})
        if units < 3:
            refused.append(f"{question.task.title}: {units} groups make no curve.")
            continue
        too_few = []
        for size in sizes:
            repeats = 1 if size == units - 1 else REPEATS
            drawn = [_few_groups(question, size, rng) for _ in range(repeats)]
            if any(splits is None for splits in drawn):
                too_few.append(str(size))
                continue
            for name, matrix in study.matrices.items():
                rows = matrix[question.items]
                scores = [answer(question, rows, splits=splits)[0] for splits in drawn]
                findings.append(
                    scored(
                        question,
                        scores,
                        contender=name,
                        condition=f"{size} {study.spec.group}{'s' * (size > 1)}",
                        seed=study.seed,
                        fitted_on=f"{size} of {units - 1} other groups",
                    )
                )
        if too_few:
            refused.append(
                f"{question.task.title} ({question.task.kind}): of {', '.join(too_few)} "
                f"{study.spec.group}{'s' * (too_few != ['1'])} to learn from, some choice has one "
                f"value of {question.task.target} only."
            )
    return Diagnostic(
        "learning",
        "Learning curves",
        f"Scores when only so many {study.spec.group}s are there to learn from, the mean over "
        f"{REPEATS} random choices. An encoder that is ahead with few labels is worth more than "
        "one that catches up with many.",
        tuple(findings),
        (),
        tuple(refused),
    )


def _few_groups(
    question: Question, size: int, rng: np.random.Generator
) -> list[tuple[Array, Array]] | None:
    """Folds whose training sides keep `size` groups, or None where one class would be left."""
    splits = []
    for train, test in folds(question.groups):
        units = np.unique(question.groups[train])
        chosen = rng.choice(units, min(size, len(units)), replace=False)
        few = train[np.isin(question.groups[train], chosen)]
        if len(np.unique(question.truth[few])) < 2:
            return None
        splits.append((few, test))
    return splits


def readouts(study: Study) -> Diagnostic:
    """The same questions read out in other ways, beside always naming the commonest class."""
    findings: list[Finding] = []
    refused: list[str] = []
    done: set[tuple[str, str]] = set()
    for question in study.questions:
        kind = "separation" if question.task.kind == "separation" else "classes"
        key = (question.task.title, kind)
        if question.task.kind not in ("knn", "probe", "separation") or key in done:
            continue
        done.add(key)
        fewest = min(len(train) for train, _ in folds(question.groups))
        refused += [
            f"{question.task.title}, {k}-NN: there are {fewest} items to learn from in a fold."
            for k in NEIGHBOURS
            if k > fewest and kind == "classes"
        ]
        for name, matrix in study.matrices.items():
            rows = matrix[question.items]
            for score in _read_out(question, rows):
                findings.append(
                    scored(question, [score], contender=name, condition="", seed=study.seed)
                )
        if kind == "classes":
            baseline = majority_baseline(question.truth)
            findings += [
                Finding(
                    contender="majority class",
                    quantity=f"{question.task.title}, {metric}",
                    value=value,
                    n_items=len(question.items),
                    n_groups=len(np.unique(question.groups)),
                    fitted_on="all labels",
                )
                for metric, value in baseline.items()
            ]
    return Diagnostic(
        "readouts",
        "Other ways of reading out",
        "Nearest neighbours, linear probes and their macro-F1 for the same labels and folds. A "
        "claim that holds for one of them only is a claim about the readout.",
        tuple(findings),
        (),
        tuple(refused) if findings else ("No task has classes to read out.",),
    )


def _read_out(question: Question, rows: Array) -> Iterator[Score]:
    splits = list(folds(question.groups))
    nothing = np.zeros(0)
    if question.task.kind == "separation":
        positive = question.truth == np.unique(question.truth)[1]
        shift = ridge(rows, positive[:, None].astype(float), splits)[0][:, 0]
        yield Score("Z′", lambda i: z_prime(shift[i][positive[i]], shift[i][~positive[i]]), nothing)
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
                f"{readout} {metric}",
                lambda i, label=label, value=value: value(codes[i], label[i]),  # type: ignore[misc]
                nothing,
            )


def _logistic(rows: Array, codes: Array, splits: list[tuple[Array, Array]]) -> Array:
    from sklearn.linear_model import LogisticRegression

    found = np.zeros_like(codes)
    for train, test in splits:
        if len(np.unique(codes[train])) < 2:
            raise EvaluationError("a training fold has one class only")
        seen, unseen = standardise(rows[train], rows[test])
        # Features of unit variance, scaled so that the penalty means the same for any number.
        scale = 1 / np.sqrt(rows.shape[1])
        model = LogisticRegression(max_iter=5000, tol=1e-3, class_weight="balanced")
        found[test] = model.fit(seen * scale, codes[train]).predict(unseen * scale)
    return found
