"""Metric validation: which metrics distinguish biology from a shortcut, and at which effect size.

Embeddings of plates are simulated without images. Each contains a code of the label, an offset for
each plate, and noise. For biology the code is the same on every plate; for the shortcut it is drawn
separately for each plate, like an effect of the well position if each plate has its own layout.
The null has neither code nor plate offset.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan, sqrt
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

from zoo.registry import Task, suggest

from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import Question, score_task
from ..metrics._average_precision import mean_average_precision
from ..metrics._geometry import Geometry, geometry
from ..metrics._graph import graph_connectivity
from ..metrics._kbet import kbet
from ..metrics._lisi import clisi, ilisi, lisi
from ..metrics._matrix import unit_rows
from ..metrics._neighbours import nearest_neighbours
from ..metrics._pairs import Pairs, across_batches, any_negatives, control_negatives
from ..metrics._pcr import principal_component_regression
from ..metrics._robustness import croma, robustness_index
from ..metrics._silhouette import bras, silhouette_label
from ..metrics._variance import decompose

Array = NDArray[Any]
Contender = Literal["biology", "shortcut"]
Verdict = Literal["diagnostic", "insufficient", "blind"]
PLATES, LABELS, REPLICATES = 4, 8, 3
ITEMS = PLATES * LABELS * REPLICATES
DIMENSIONS, CODE = 32, 3
PLATE_EFFECT = 0.5  # relative to the effect of the label
NULL_RUNS = 200
LEVEL = 0.05
POWER = 0.8
# Replicates that share a shortcut form clusters, which increases the variance of every metric and
# slightly the precision across plates: the rate exceeds LEVEL, but half requires information.
TOLERATED = 0.5
EFFECTS = (0.25, 0.5, 1.0, 2.0)
_PLATE = np.repeat(np.arange(PLATES), LABELS * REPLICATES)
_DOSE = np.tile(np.repeat(np.arange(LABELS), REPLICATES), PLATES)
_TABLE = pd.DataFrame({"plate": _PLATE, "dose": _DOSE, "control": _DOSE == 0})


def encode(contender: Contender, effect: float, rng: np.random.Generator) -> Array:
    """Simulate an embedding of plates, `(ITEMS, DIMENSIONS)`.

    Parameters
    ----------
    contender
        Whether the code of a label, `CODE` normal numbers, is shared by all plates (``"biology"``;
        its first number is linear in the dose) or specific to each plate (``"shortcut"``).
    effect
        Standard deviation of the code relative to the noise of a dimension; that of the plate
        offsets is `PLATE_EFFECT` times as large. 0 is noise only.
    rng
        The same state gives the same plates, noise and rotation for every effect.
    """
    rows = rng.normal(size=(ITEMS, DIMENSIONS))
    shared = rng.normal(size=(LABELS, CODE))
    shared[:, 0] = _evenly(LABELS)
    own = rng.normal(size=(PLATES, LABELS, CODE))
    plates = rng.normal(size=(PLATES, CODE))
    rotation = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))[0]
    code = shared[_DOSE] if contender == "biology" else own[_PLATE, _DOSE]
    rows[:, :CODE] += effect * code
    rows[:, CODE : 2 * CODE] += effect * PLATE_EFFECT * plates[_PLATE]
    return rows @ rotation


@dataclass(frozen=True)
class Run:
    """One embedding of simulated plates, with intermediate results that metrics share."""

    rows: Array

    @cached_property
    def neighbours(self) -> tuple[Array, Array]:
        """All other items of every item, nearest first, and their distances."""
        return nearest_neighbours(self.rows, ITEMS - 1)

    @cached_property
    def geometry(self) -> Geometry:
        """Spread over dimensions."""
        return geometry(self.rows)

    def lisi(self, groups: Array) -> Array:
        """Effective number of groups among the 30 nearest."""
        indices, distances = self.neighbours
        return lisi(indices[:, :30], distances[:, :30], groups)

    def task(self, kind: Literal["dose", "knn", "probe"]) -> float:
        """Score of a task, plates held out one by one."""
        everything = np.arange(ITEMS)
        question = Question(Task(kind=kind, target="dose", title="dose"), everything, _DOSE, _PLATE)
        return score_task(question, self.rows)[0].at(everything)

    def retrieval(self, pairs: Pairs) -> float:
        """Mean average precision over profiles."""
        found = mean_average_precision(self.rows, _TABLE, pairs, null_size=1, threads=1)
        return float(found.profiles["average_precision"].mean())

    def robustness(self) -> float:
        """Robustness index, less what is expected without any information."""
        indices, _ = self.neighbours
        k = PLATES * REPLICATES - 1
        index = robustness_index(indices, _DOSE, _PLATE, k=k)
        return index.value - index.expected

    def consistency(self) -> float:
        """Mean cosine over pairs of replicates."""
        unit = unit_rows(self.rows)
        sums = np.stack([unit[label == _DOSE].sum(0) for label in range(LABELS)])
        return float(((sums**2).sum() - ITEMS) / (ITEMS * (PLATES * REPLICATES - 1)))


METRICS: Mapping[str, Callable[[Run], float]] = {
    "dose, Spearman ρ": lambda run: run.task("dose"),
    "5-NN balanced accuracy": lambda run: run.task("knn"),
    "linear probe balanced accuracy": lambda run: run.task("probe"),
    "mAP, any negatives": lambda run: run.retrieval(any_negatives("dose")),
    "mAP, controls of the same plate": lambda run: run.retrieval(
        control_negatives("dose", "plate", "control")
    ),
    "mAP, positives from another plate only": lambda run: run.retrieval(
        across_batches("dose", "plate")
    ),
    "mean cosine of replicates": Run.consistency,
    "label ASW": lambda run: silhouette_label(run.rows, _DOSE),
    "cLISI": lambda run: clisi(run.lisi(_DOSE), _DOSE),
    "graph connectivity": lambda run: graph_connectivity(run.neighbours[0][:, :5], _DOSE),
    "robustness index − expected": Run.robustness,
    "CRoMa, median": lambda run: croma(run.rows, _DOSE, _PLATE).median,
    "share of variance": lambda run: decompose(run.rows, {"dose": _DOSE}).shares["dose"].alone,
    "iLISI": lambda run: ilisi(run.lisi(_PLATE), _PLATE),
    "kBET": lambda run: kbet(run.neighbours[0], _DOSE, _PLATE).score,
    "BRAS": lambda run: bras(run.rows, _DOSE, _PLATE),
    "1 − PCR": lambda run: 1 - principal_component_regression(run.rows, _PLATE),
    "participation ratio": lambda run: run.geometry.participation_ratio,
    "effective rank": lambda run: run.geometry.effective_rank,
}
"""Metrics by their names in tables; higher is better for each."""


def validate_metrics(
    *,
    seed: int = 0,
    runs: int = 40,
    effects: Sequence[float] = EFFECTS,
    metrics: Sequence[str] | None = None,
) -> Diagnostic:
    """Run each metric on simulated biology and on a simulated shortcut, across effect sizes.

    A run is detected if the metric exceeds the 95th percentile of its values on `NULL_RUNS`
    simulations of noise with the same design.

    Parameters
    ----------
    seed
        Random seed of the simulations.
    runs
        Simulations for each embedding and effect size.
    effects
        Standard deviations of the label's code, relative to the noise of a dimension.
    metrics
        Some of `METRICS`, by default all.

    Returns
    -------
    Diagnostic
        ``"validation"``: for each metric, embedding and effect size the detection rate with its
        95 % confidence interval (Wilson); and which metrics are diagnostic, insufficient or blind.

    Raises
    ------
    ValueError
        For fewer than one run; effects that are negative, repeated or not finite, or none above 0;
        and unknown metrics.
    """
    sizes, names = _checked(runs, effects, metrics)
    contenders: tuple[Contender, ...] = ("biology", "shortcut")
    with threadpool_limits(1):  # the matrices are small
        null = _scores("biology", 0.0, names, (seed, 0), NULL_RUNS)
        scores = {
            (contender, effect): _scores(contender, effect, names, (seed, 1), runs)
            for contender in contenders
            for effect in sizes
        }
    undefined = [name for name, values in null.items() if np.isnan(values).any()]
    findings = []
    for name in names:
        if name in undefined:
            continue
        # With this rank, a further run of noise exceeds it with a probability of exactly LEVEL.
        threshold = float(np.quantile(null[name], 1 - LEVEL, method="weibull"))
        for (contender, effect), values in scores.items():
            detected = int((values[name] > threshold).sum())
            low, high = binomtest(detected, runs).proportion_ci(method="wilson")
            findings.append(
                Finding(
                    encoder=contender,
                    quantity=name,
                    condition=f"effect {effect:g}",
                    at=effect,
                    value=detected / runs,
                    low=float(low),
                    high=float(high),
                    reference=LEVEL,
                    reference_name="noise",
                    n_items=runs,
                    note=f"share of runs above {threshold:.3g}, the 95th percentile of "
                    f"{NULL_RUNS} simulations of noise",
                )
            )
    how_to_read = (
        f"Detection rate: share of {runs} simulations ({PLATES} plates, {LABELS} doses, "
        f"{REPLICATES} wells of each per plate) in which a metric exceeds the 95th percentile for "
        "noise. For biology, the embedding contains a code of the dose that is the same on all "
        "plates; for the shortcut, a code that is specific to each plate; both contain plate "
        f"offsets {PLATE_EFFECT:g} times as large. The effect size is the standard deviation of "
        f"the code, in {CODE} of {DIMENSIONS} dimensions, relative to the noise. No metric can "
        "distinguish biology from a shortcut that is the same on all plates: this needs controls."
    )
    not_computed = tuple(
        f"{name} is undefined for {ITEMS} wells in total, and is not validated."
        for name in undefined
    )
    title = "Metric validation: biology against a shortcut"
    conclusions = _conclusions(_by_metric(findings))
    return Diagnostic(
        name="validation",
        title=title,
        how_to_read=how_to_read,
        findings=tuple(findings),
        conclusions=conclusions,
        not_computed=not_computed,
        view="rates",
        order=1,
    )


def metric_verdicts(diagnostic: Diagnostic) -> dict[str, Verdict]:
    """Classify each metric by the findings of `validate_metrics`.

    - ``"diagnostic"``: from some effect size on, biology is detected in at least 80 % of the runs,
      and the shortcut in at most half of them;
    - ``"insufficient"``: biology is detected, but at these effect sizes the shortcut is too;
    - ``"blind"``: biology is not detected at the largest effect size.

    Raises
    ------
    ValueError
        For another diagnostic.
    """
    if diagnostic.name != "validation":
        raise ValueError(f"the diagnostic is {diagnostic.name!r}, not 'validation'")
    metrics = _by_metric(diagnostic.findings)
    return {name: _judge(findings)[0] for name, findings in metrics.items()}


def _checked(
    runs: int, effects: Sequence[float], metrics: Sequence[str] | None
) -> tuple[list[float], list[str]]:
    sizes = sorted(float(effect) for effect in effects)
    if runs < 1:
        raise ValueError(f"runs must be at least 1, not {runs}")
    if not np.isfinite(sizes).all() or min(sizes, default=0.0) < 0 or len({*sizes}) < len(sizes):
        raise ValueError(f"effects must be different numbers from 0 up, not {tuple(effects)}")
    if max(sizes, default=0.0) == 0:
        raise ValueError("at least one effect must be above 0")
    names = list(METRICS) if metrics is None else list(dict.fromkeys(metrics))
    for name in names:
        if name not in METRICS:
            raise ValueError(
                f"{name!r} is none of the metrics {', '.join(METRICS)}.{suggest(name, METRICS)}"
            )
    return sizes, names


def _scores(
    contender: Contender, effect: float, names: Sequence[str], seeds: tuple[int, int], runs: int
) -> dict[str, Array]:
    values: dict[str, list[float]] = {name: [] for name in names}
    for k in range(runs):
        run = Run(encode(contender, effect, np.random.default_rng([*seeds, k])))
        for name in names:
            values[name].append(METRICS[name](run))
    return {name: np.array(found) for name, found in values.items()}


def _by_metric(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    metrics: dict[str, list[Finding]] = {}
    for finding in findings:
        metrics.setdefault(finding.quantity, []).append(finding)
    return metrics


def _judge(findings: Sequence[Finding]) -> tuple[Verdict, float]:
    """Return the verdict with the smallest effect size where it holds; NaN for blind."""
    biology, shortcut = (
        {f.at: f.value for f in findings if f.encoder == contender}
        for contender in ("biology", "shortcut")
    )
    missed = max((size for size, rate in biology.items() if rate < POWER), default=0.0)
    detected = sorted(size for size in biology if size > missed)
    if not detected:
        return "blind", nan
    fooled = [size for size in detected if shortcut[size] > TOLERATED]
    return ("insufficient", fooled[0]) if fooled else ("diagnostic", detected[0])


def _conclusions(metrics: Mapping[str, Sequence[Finding]]) -> tuple[str, ...]:
    classes: dict[Verdict, dict[float, list[str]]] = {}
    false_positives: dict[str, float] = {}
    for name, findings in metrics.items():
        verdict, size = _judge(findings)
        classes.setdefault(verdict, {}).setdefault(size, []).append(f"“{name}”")
        above = [f.value for f in findings if f.encoder == "shortcut" and f.low > LEVEL]
        if verdict == "diagnostic" and above:
            false_positives[name] = max(above)
    beginnings: dict[Verdict, str] = {
        "diagnostic": "Diagnostic",
        "insufficient": "Insufficient, because the shortcut alone is detected too",
        "blind": "Blind, because biology is not detected",
    }
    conclusions = []
    for verdict, beginning in beginnings.items():
        parts = [
            ", ".join(names) + (f" from effect {size:g} on" if verdict != "blind" else "")
            for size, names in sorted(classes.get(verdict, {}).items())
        ]
        if parts:
            conclusions.append(f"{beginning}: {'; '.join(parts)}.")
    if false_positives:
        rates = ", ".join(f"“{name}” {100 * rate:.0f} %" for name, rate in false_positives.items())
        conclusions.append(
            f"False-positive rates above the nominal {100 * LEVEL:.0f} %, because replicates on a "
            f"plate are not independent, up to: {rates}."
        )
    return tuple(conclusions)


def _evenly(levels: int) -> Array:
    """Equidistant levels with mean 0 and standard deviation 1."""
    steps = np.arange(levels) - (levels - 1) / 2
    return steps / sqrt(float((steps**2).mean()))
