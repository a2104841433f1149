"""Group bootstrap and confidence intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm as normal
from scipy.stats import t as student

from .tasks import Question, Score

DRAWS = 1000


@dataclass(frozen=True)
class Estimate:
    """A score with its confidence interval and bootstrap draws.

    Parameters
    ----------
    value, low, high
        Score and its 95 % confidence interval.
    draws
        Score on each resample of groups, `(DRAWS,)`; the same resamples for every encoder.
    """

    value: float
    low: float
    high: float
    draws: NDArray[np.float64]


def resamples(groups: NDArray[Any], *, seed: int = 0) -> list[NDArray[np.intp]]:
    """Draw positions by resampling whole groups with replacement, `DRAWS` times."""
    names, codes = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(codes == g) for g in range(len(names))]
    picks = pick_groups(len(names), seed=seed)
    return [np.concatenate([members[g] for g in pick]) for pick in picks]


def pick_groups(groups: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Draw as many groups as there are, with replacement: `(DRAWS, groups)`."""
    return np.random.default_rng(seed).integers(groups, size=(DRAWS, groups))


def estimate(scores: list[Score], draws: list[NDArray[np.intp]], question: Question) -> Estimate:
    """Estimate a score with its confidence interval; scores of several seeds are averaged."""
    everything = np.arange(len(question.items))
    value = float(np.mean([s.at(everything) for s in scores]))
    drawn = np.mean([[s.at(i) for i in draws] for s in scores], axis=0)
    low, high = interval(value, drawn, len(np.unique(question.groups)))
    return Estimate(value, low, min(high, 1.0), drawn)  # no score exceeds 1


def interval(value: float, draws: NDArray[np.float64], groups: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a value from its draws, widened for few groups.

    The percentile interval is too narrow by t(G − 1)/z · sqrt(G/(G − 1)) for G groups (Hesterberg,
    What Teachers Should Know About the Bootstrap, 2015, section 3.1), and is stretched by that.
    Undefined draws are left out.
    """
    known = draws[np.isfinite(draws)]
    if len(known) == 0 or groups < 2:
        return float("nan"), float("nan")
    stretch = student.ppf(0.975, groups - 1) / normal.ppf(0.975) * np.sqrt(groups / (groups - 1))
    low, high = np.percentile(known, [2.5, 97.5])
    return float(value + stretch * (low - value)), float(value + stretch * (high - value))
