"""What may be said of a score beside chance and beside the controls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm as normal
from scipy.stats import t as student

from .tasks import Question, Score

DRAWS = 1000
PERMUTATIONS = 199
FEWEST_PERMUTATIONS = 19
WORK = 2_000_000  # entries that are permuted in all
# With fewer, two equally good encoders are told apart far more often than an interval says.
MIN_GROUPS = 6

Outcome = Literal[
    "beats all controls", "matched by", "beaten by", "at chance", "below chance", "no verdict"
]


@dataclass(frozen=True)
class Estimate:
    """A score with its interval and the draws that the interval came from.

    Parameters
    ----------
    value, low, high
        Score and its 95 % interval.
    draws
        Score on each resample of groups, `(DRAWS,)`; the same resamples for every encoder.
    """

    value: float
    low: float
    high: float
    draws: NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """The answer for one score.

    Parameters
    ----------
    outcome
        What the intervals allow one to say.
    control
        The control that the gap is measured against: the best one, or, where the encoder beats
        all, the one it beats by least.
    gap, low, high
        Score minus the control's, with its 95 % interval.
    words
        The outcome as a phrase that names the control.
    sentence
        The same with the encoder and the numbers.
    """

    outcome: Outcome
    control: str | None
    gap: float
    low: float
    high: float
    words: str
    sentence: str


def resamples(groups: NDArray[Any], *, seed: int = 0) -> list[NDArray[np.intp]]:
    """Positions drawn by resampling whole groups with replacement, `DRAWS` times."""
    names, codes = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(codes == g) for g in range(len(names))]
    picks = pick_groups(len(names), seed=seed)
    return [np.concatenate([members[g] for g in pick]) for pick in picks]


def pick_groups(groups: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Draw as many groups as there are, with replacement: `(DRAWS, groups)`."""
    return np.random.default_rng(seed).integers(groups, size=(DRAWS, groups))


def permutations_for(question: Question) -> int:
    """How often labels are permuted: less often for many items and classes, whose chance is narrow.

    The work of probes and neighbours grows with items times classes.
    """
    work = len(question.items)
    if question.task.kind in ("knn", "probe"):
        work *= len(np.unique(question.truth))
    return int(np.clip(WORK // work, FEWEST_PERMUTATIONS, PERMUTATIONS))


def estimate(scores: list[Score], draws: list[NDArray[np.intp]], question: Question) -> Estimate:
    """Score with its interval; several scores are seeds of one encoder and averaged."""
    everything = np.arange(len(question.items))
    value = float(np.mean([s.of(everything) for s in scores]))
    drawn = np.mean([[s.of(i) for i in draws] for s in scores], axis=0)
    low, high = interval(value, drawn, len(np.unique(question.groups)))
    return Estimate(value, low, min(high, 1.0), drawn)  # no score exceeds 1


def interval(value: float, draws: NDArray[np.float64], groups: int) -> tuple[float, float]:
    """Return the 95 % interval of a value from its draws, widened for few groups.

    The percentile interval is too narrow by t(G − 1)/z · sqrt(G/(G − 1)) for G groups (Hesterberg,
    What Teachers Should Know About the Bootstrap, 2015, section 3.1), and is stretched by that.
    Resamples without a value are left out.
    """
    known = draws[np.isfinite(draws)]
    if len(known) == 0 or groups < 2:
        return float("nan"), float("nan")
    stretch = student.ppf(0.975, groups - 1) / normal.ppf(0.975) * np.sqrt(groups / (groups - 1))
    low, high = np.percentile(known, [2.5, 97.5])
    return float(value + stretch * (low - value)), float(value + stretch * (high - value))


def judge(
    encoder: str,
    score: Estimate,
    controls: Mapping[str, Estimate],
    null: NDArray[np.float64],
    groups: int,
) -> Verdict:
    """Compare a score with chance and with each control.

    The encoder beats all controls only if the paired interval against each of them lies above
    zero (intersection–union, so no further correction for their number). A score among the middle
    95 % of what the same embedding gets for permuted labels, `null`, is at chance, whatever the
    controls do.
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
        numbers += f", gap {gap:+.2f} [{low:+.2f}, {high:+.2f}]"
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
