"""The verdict on a score: comparison with chance and with the controls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Estimate, interval
from .tasks import Question

PERMUTATIONS = 199
FEWEST_PERMUTATIONS = 19
WORK = 2_000_000  # entries to permute, in total
# With fewer groups, the false-positive rate for two equally good encoders is far above 5 %.
MIN_GROUPS = 6
Outcome = Literal[
    "beats all controls", "matched by", "beaten by", "at chance", "below chance", "no verdict"
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
        nearest.
    gap, low, high
        Difference to that control, with its 95 % confidence interval.
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
    summary: str
    detail: str


def difference(verdict: Verdict) -> str:
    """Difference to the control with its interval, as text; empty without a control."""
    if verdict.control is None:
        return ""
    return f"{verdict.gap:+.2f} [{verdict.low:+.2f}, {verdict.high:+.2f}]"


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
    groups: int,
) -> Verdict:
    """Compare a score with chance and with each control.

    The encoder beats all controls only if the confidence interval of the paired difference to each
    lies above zero (an intersection–union test, which needs no correction for their number). A
    score within the central 95 % of its permutation null is at chance, whatever the controls score.
    """
    nan = float("nan")
    best = max(controls, key=lambda name: controls[name].value, default=None)
    gaps = {
        name: interval(score.value - c.value, score.draws - c.draws, groups)
        for name, c in controls.items()
    }

    def verdict(outcome: Outcome, control: str | None, words: str) -> Verdict:
        if control is None:
            return Verdict(outcome, None, nan, nan, nan, words, f"{encoder}: {words}")
        gap = score.value - controls[control].value
        low, high = gaps[control]
        numbers = f"{score.value:.2f} against {controls[control].value:.2f}"
        numbers += f", difference {gap:+.2f} [{low:+.2f}, {high:+.2f}]"
        return Verdict(outcome, control, gap, low, high, words, f"{encoder}: {words} ({numbers})")

    if groups < MIN_GROUPS or not np.isfinite([score.low, score.high]).all():
        words = f"no verdict: {groups} groups are too few for an interval"
        return Verdict("no verdict", None, nan, nan, nan, words, f"{encoder}: {words}")
    floor, ceiling = np.percentile(null[np.isfinite(null)], [2.5, 97.5])
    if floor <= score.value <= ceiling:
        return verdict("at chance", best, f"at chance (best control: {best})")
    if score.value < floor:
        return verdict("below chance", best, f"below chance (best control: {best})")
    if best is None:
        return verdict("no verdict", None, "no verdict: there is no control to compare with")
    if all(low > 0 for low, _ in gaps.values()):
        nearest = min(gaps, key=lambda name: score.value - controls[name].value)
        words = f"beats all controls (nearest: {nearest})"
        return verdict("beats all controls", nearest, words)
    if gaps[best][1] < 0:
        return verdict("beaten by", best, f"beaten by {best}")
    unbeaten = [name for name, (low, _) in gaps.items() if low <= 0]
    match = max(unbeaten, key=lambda name: controls[name].value)
    return verdict("matched by", match, f"matched by {match}")
