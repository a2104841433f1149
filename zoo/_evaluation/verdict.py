"""The verdict on a score: comparison with chance and with the controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite, nan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .intervals import ERROR, POWER, Estimate, effective
from .tasks import Question

PERMUTATIONS = 199
FEWEST_PERMUTATIONS = 19
WORK = 2_000_000  # entries to permute, in total
# With fewer groups, the false-positive rate for two equally good encoders is far above 5 %.
MIN_GROUPS = 6
# Groups so unequal that they count as fewer than these are judged by one or two of them.
MIN_EFFECTIVE_GROUPS = 3
# With fewer distinct labelings, a perfect score lies within the central 95 % of its own null.
MIN_LABELINGS = 80
NO_BETTER_ERROR = 0.05
SIMULATED = 20_000
DIFFERENCE = "difference to control (95 % CI)"
Outcome = Literal[
    "beats all controls",
    "no better than",
    "undecided",
    "worse than",
    "at chance",
    "below chance",
    "no verdict",
]


@dataclass(frozen=True)
class Verdict:
    """Comparison of a score with chance and with the controls.

    Parameters
    ----------
    outcome
        What the confidence intervals support.
    control
        The control that the difference refers to: the best one, or, if the encoder beats all, the
        nearest, or, if that is undecided, the best that it may or may not beat.
    gap, low, high
        Difference to that control, with its 95 % confidence interval.
    margin
        Differences below this count as none; NaN if the metric has no margin.
    detectable
        Smallest true difference to that control that is found with a probability of 80 %.
    power
        Probability to find a true difference as large as the margin.
    p_value
        Of the hypothesis that the encoder does not beat all controls; NaN without a verdict.
    summary
        The outcome as a phrase that names the control.
    detail
        The summary with the encoder and the numbers.
    """

    outcome: Outcome
    control: str | None
    gap: float
    low: float
    high: float
    margin: float
    detectable: float
    power: float
    p_value: float
    summary: str
    detail: str


def difference(verdict: Verdict) -> str:
    """Difference to the control with its interval, as text; empty without a control."""
    if verdict.control is None:
        return ""
    return f"{verdict.gap:+.2f} [{verdict.low:+.2f}, {verdict.high:+.2f}]"


def detectable(verdict: Verdict) -> str:
    """Smallest true difference that the sample can show, as text; empty without a control."""
    return f"±{verdict.detectable:.2f}" if isfinite(verdict.detectable) else ""


def permutations_for(question: Question) -> int:
    """Return the number of permutations: fewer for many items and classes, whose null is narrow.

    The computing time of probes and neighbours grows with items times classes.
    """
    work = len(question.items)
    if question.task.kind in ("knn", "probe"):
        work *= len(np.unique(question.truth))
    return int(np.clip(WORK // work, FEWEST_PERMUTATIONS, PERMUTATIONS))


def judge(
    encoder: str,
    score: Estimate,
    controls: Mapping[str, Estimate],
    null: NDArray[np.float64],
    group: NDArray[Any],
    *,
    margin: float = nan,
    labelings: float = np.inf,
) -> Verdict:
    """Compare a score with chance and with each control, given the group of each item.

    The encoder beats all controls only if the confidence interval of the paired difference to each
    lies above zero (an intersection–union test, which needs no correction for their number). It is
    worse than a control, or no better than one, only by simultaneous bounds for all of them
    (Dunnett, 1955), because the best of several equal controls is picked by chance. A score within
    the central 95 % of its permutation null is at chance, whatever the controls score.
    """
    groups, counting = len(np.unique(group)), effective(group)
    gaps = {name: score.minus(c) for name, c in controls.items()}
    p_value = max((gap.p_value for gap in gaps.values()), default=nan)

    def verdict(outcome: Outcome, control: str | None, words: str) -> Verdict:
        if control is None:
            numbers, gap = "", Estimate(nan, np.empty(0), 0)
        else:
            gap = gaps[control]
            numbers = f" ({score.value:.2f} against {controls[control].value:.2f}"
            numbers += f", difference {gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]; "
            numbers += f"{groups} groups can show ±{gap.detectable:.2f})"
        return Verdict(
            outcome,
            control,
            gap.value,
            gap.low,
            gap.high,
            margin,
            gap.detectable,
            _power(gap, margin),
            nan if outcome == "no verdict" else p_value,
            words,
            f"{encoder}: {words}{numbers}",
        )

    if groups < MIN_GROUPS or not isfinite(score.error):
        return verdict("no verdict", None, f"no verdict: {groups} groups are too few")
    if counting < MIN_EFFECTIVE_GROUPS:
        words = f"no verdict: {groups} groups of very unequal size count as {counting:.1f}"
        return verdict("no verdict", None, words)
    if labelings < MIN_LABELINGS:
        words = f"no verdict: the groups allow only {labelings:.0f} distinct labelings"
        return verdict("no verdict", None, words)
    best = max(controls, key=lambda name: controls[name].value, default=None)
    floor, ceiling = np.percentile(null[np.isfinite(null)], [100 * ERROR, 100 * (1 - ERROR)])
    if floor <= score.value <= ceiling:
        return verdict("at chance", best, f"at chance (best control: {best})")
    if score.value < floor:
        return verdict("below chance", best, f"below chance (best control: {best})")
    if best is None:
        return verdict("no verdict", None, "no verdict: there is no control to compare with")
    if p_value < ERROR:
        nearest = min(gaps, key=lambda name: gaps[name].value)
        return verdict("beats all controls", nearest, f"beats all controls (nearest: {nearest})")
    below, reach = simultaneous(list(gaps.values()), (ERROR, NO_BETTER_ERROR))
    if gaps[best].value + below * gaps[best].error < 0:
        return verdict("worse than", best, f"worse than {best}")
    upper = {name: gap.value + reach * gap.error for name, gap in gaps.items()}
    lowest = min(upper, key=lambda name: upper[name])
    if upper[lowest] < margin:
        return verdict("no better than", lowest, f"no better than {lowest}")
    unbeaten = [name for name, gap in gaps.items() if gap.p_value >= ERROR]
    match = max(unbeaten, key=lambda name: controls[name].value)
    words = f"undecided against {match}"
    if isfinite(needed := _groups_to_decide(gaps[match], groups, margin, reach)):
        words += f"; about {_rounded(needed)} groups would decide"
    return verdict("undecided", match, words)


def simultaneous(gaps: Sequence[Estimate], errors: Sequence[float]) -> list[float]:
    """Numbers of standard errors that no difference exceeds, but for these shares of samples.

    Quantiles of the largest of correlated t statistics, by simulation; differences to several
    controls are correlated, for all have the same encoder.
    """
    spread = [gap.deviations / np.linalg.norm(gap.deviations) for gap in gaps if gap.error > 0]
    degrees = min(gap.degrees for gap in gaps)
    if len(spread) < 2:
        return [gaps[0].quantile(1 - error) for error in errors]
    rng = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(np.array(spread) @ np.array(spread).T)
    root = vectors * np.sqrt(np.maximum(values, 0))
    normal = rng.standard_normal((SIMULATED, len(spread))) @ root.T
    scale = np.sqrt(rng.chisquare(degrees, SIMULATED) / degrees)
    largest = normal.max(1) / scale
    return [float(np.quantile(largest, 1 - error)) for error in errors]


def _power(gap: Estimate, margin: float) -> float:
    """Probability to find a true difference as large as the margin."""
    from scipy.stats import nct

    if not (isfinite(margin) and isfinite(gap.error) and gap.degrees > 0):
        return nan
    if gap.error == 0:
        return 1.0
    return float(nct.sf(gap.quantile(1 - ERROR), gap.degrees, margin / gap.error))


def _groups_to_decide(gap: Estimate, groups: int, margin: float, reach: float) -> float:
    """Number of groups that would decide with `POWER`, if the difference is what it seems to be.

    The standard error shrinks with the root of the number of groups. Decided is either that the
    encoder is better or worse, or that it is better by less than the margin.
    """
    if not isfinite(margin) or gap.error == 0:
        return nan
    detected = gap.detectable / max(abs(gap.value), 1e-12)
    equal = (reach + gap.quantile(POWER)) * gap.error / max(margin - gap.value, 1e-12)
    return ceil(groups * min(detected, equal) ** 2)


def _rounded(count: float) -> int:
    """Round to two digits, upwards."""
    step = 10 ** max(len(str(int(count))) - 2, 0)
    return int(ceil(count / step) * step)
