"""Scores by a user's metric function, with confidence interval, chance and verdict."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zoo.registry import Design, EvaluationError

from .._embedding.embeddings import Embeddings
from .contenders import Contender
from .intervals import Estimate, jackknifed
from .margins import margin_of
from .scorecard import Row
from .tasks import permute
from .verdict import judge

Metric = Callable[[Embeddings], float]
SHUFFLES = 99


def metric_row(
    metric: Metric,
    design: Design,
    contenders: Mapping[str, Contender],
    seed: int,
    *,
    margins: Mapping[str, float],
) -> Row:
    """Score all contenders by a metric function, and compare the first with the others.

    A bootstrap resample would give items copies of themselves as neighbours, so the error comes
    from the delete-one-group jackknife.

    Raises
    ------
    EvaluationError
        Naming the function: if it fails or does not return a finite number for all items.
    """
    subject = next(iter(contenders))
    name = metric_name(metric)
    first = contenders[subject].embeddings[0]
    groups = first.metadata[design.group].to_numpy()
    known = np.flatnonzero(
        first.metadata[design.group].notna().to_numpy()
        & first.metadata[design.label].notna().to_numpy()
    )
    groups = groups[known]
    units, sizes = np.unique(groups, return_counts=True)
    estimates = {}
    for contender, members in contenders.items():
        found = [_estimates(metric, name, _rows(e, known), groups) for e in members.embeddings]
        value = float(np.mean([v for v, _ in found]))
        without = np.mean([w for _, w in found], axis=0)
        deviations = jackknifed(value, without, sizes.astype(float))
        estimates[contender] = Estimate(value, deviations, len(units) - 1)
    embeddings = _rows(first, known)
    orders = permute(embeddings.metadata[design.label].to_numpy(), groups, SHUFFLES, seed)
    null = np.array([_call(metric, name, _relabelled(embeddings, design, o)) for o in orders.T[1:]])
    others = {n: e for n, e in estimates.items() if n != subject}
    return Row(
        task="metric",
        metric=name,
        chance=float(null.mean()),
        estimates=estimates,
        verdict=judge(
            subject,
            estimates[subject],
            others,
            null,
            groups,
            margin=margin_of(name, margins),
        ),
        n_items=len(known),
        n_groups=len(units),
        permutations=SHUFFLES,
    )


def metric_name(metric: Metric) -> str:
    """Name under which a metric function appears."""
    return str(getattr(metric, "__name__", type(metric).__name__))


def _estimates(
    metric: Metric, name: str, embeddings: Embeddings, groups: NDArray[np.generic]
) -> tuple[float, NDArray[np.float64]]:
    """Score of all items, and the scores without each group."""
    units = np.unique(groups)
    value = _call(metric, name, embeddings)
    without = np.array(
        [_call(metric, name, _rows(embeddings, np.flatnonzero(groups != g))) for g in units]
    )
    return value, without


def _call(metric: Metric, name: str, embeddings: Embeddings) -> float:
    try:
        value = float(metric(embeddings))
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise EvaluationError(f"the metric {name} failed ({what})") from error
    if not np.isfinite(value):
        raise EvaluationError(f"the metric {name} returned {value} for {len(embeddings)} items")
    return value


def _rows(embeddings: Embeddings, items: NDArray[np.intp]) -> Embeddings:
    table = embeddings.metadata.iloc[items].reset_index(drop=True)
    return replace(embeddings, matrix=embeddings.matrix[items], metadata=table)


def _relabelled(embeddings: Embeddings, design: Design, order: NDArray[np.intp]) -> Embeddings:
    labels = embeddings.metadata[design.label].to_numpy()[order]
    return replace(embeddings, metadata=embeddings.metadata.assign(**{design.label: labels}))
