"""Confidence intervals over independent groups.

Predictions that were made out of fold are resampled by the bootstrap of groups; its standard error
is too small, for another sample would also have trained another model, and is raised by a factor
that simulation gave (`INFLATION`). Retrieval has no training, but its gallery is a sample too: the
delete-one-group jackknife leaves a group out of queries and gallery.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from .tasks import Score

DRAWS = 400
ERROR = 0.025  # of each one-sided claim that an encoder is better, or worse
POWER = 0.8
RESOLUTION = 1e-12
# Factors of the standard error, from benchmarks/verdicts_of_equal_encoders.py.
INFLATION = {"dose": 1.25, "separation": 1.3, "probe": 1.25, "knn": 1.25}


@dataclass(frozen=True)
class Estimate:
    """A score, or the difference of two, with its sampling error.

    Parameters
    ----------
    value
        The score.
    deviations
        `(R,)` what each resample of groups adds to the error: their squares sum to the variance of
        the value. Resamples are the same for every encoder, so those of two can be subtracted.
    degrees
        Degrees of freedom: independent groups less one.
    ceiling
        The highest score there is.
    """

    value: float
    deviations: NDArray[np.float64]
    degrees: int
    ceiling: float = inf

    @property
    def error(self) -> float:
        """Standard error; NaN if there is nothing to estimate it from."""
        if len(self.deviations) == 0 or self.degrees <= 0:
            return nan
        return float(np.sqrt(np.sum(self.deviations**2)))

    @property
    def low(self) -> float:
        """Lower end of the 95 % confidence interval."""
        return self.value - self.quantile(1 - ERROR) * self.error

    @property
    def high(self) -> float:
        """Upper end of the 95 % confidence interval."""
        return min(self.value + self.quantile(1 - ERROR) * self.error, self.ceiling)

    @property
    def detectable(self) -> float:
        """Smallest true difference that is found in `POWER` of all samples of this size."""
        return (self.quantile(1 - ERROR) + self.quantile(POWER)) * self.error

    def quantile(self, share: float) -> float:
        """Quantile of Student's t with these degrees of freedom."""
        return float(student.ppf(share, self.degrees)) if self.degrees > 0 else nan

    @property
    def p_value(self) -> float:
        """One-sided, of the hypothesis that the true value is zero or lower."""
        if self.value == 0 or not self.degrees > 0:
            return 1.0
        if self.error == 0:
            return float(self.value < 0)
        return float(student.sf(self.value / self.error, self.degrees))

    def minus(self, other: "Estimate") -> "Estimate":
        """Paired difference to another encoder's score on the same items."""
        if len(self.deviations) != len(other.deviations):
            return Estimate(self.value - other.value, np.empty(0), 0)
        deviations = self.deviations - other.deviations
        return Estimate(
            _resolved(np.array(self.value - other.value)).item(),
            _resolved(deviations),
            min(self.degrees, other.degrees),
        )


def _resolved(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take for zero what rounding alone leaves of the difference of two scores."""
    return np.where(np.abs(difference) < RESOLUTION, 0.0, difference)


def resamples(groups: NDArray[Any], *, seed: int = 0, draws: int = DRAWS) -> list[NDArray[np.intp]]:
    """Draw positions by resampling whole groups with replacement."""
    names, codes = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(codes == g) for g in range(len(names))]
    picks = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    return [np.concatenate([members[g] for g in pick]) for pick in picks]


def estimate(
    scores: Sequence[Score],
    groups: NDArray[Any],
    draws: Sequence[NDArray[np.intp]],
    items: NDArray[np.intp] | None = None,
) -> Estimate:
    """Estimate a score with its error; scores of several seeds are averaged.

    Parameters
    ----------
    scores
        The same score for one or several seeds.
    groups
        Independent unit of each item of the question, `(n,)`.
    draws
        `resamples` of the tested items; retrieval needs none.
    items
        Positions of the tested items; by default all.
    """
    tested = np.arange(len(groups)) if items is None else items
    value = float(np.mean([s.at(tested) for s in scores]))
    degrees = len(np.unique(groups[tested])) - 1
    if scores[0].without is not None:
        found = [s.without(tested) for s in scores if s.without is not None]
        left = np.mean([scored for scored, _ in found], axis=0)
        # Retrieval compares pairs of groups, and the jackknife of a mean over pairs of G units is
        # too wide by (G − 1)/(G − 2) (Arvesen, 1969).
        shrink = max(len(left) - 2, 1) / max(len(left) - 1, 1)
        deviations = shrink * jackknifed(value, left, found[0][1])
        return Estimate(value, deviations, degrees, 1.0)
    drawn = np.mean([[s.at(i) for i in draws] for s in scores], axis=0)
    factor = INFLATION[scores[0].kind] * sqrt((degrees + 1) / degrees) if degrees > 0 else nan
    return Estimate(value, factor * centred(drawn), degrees, 1.0)


def jackknifed(
    value: float, left: NDArray[np.float64], sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Deviations from the scores without each of G groups of unequal sizes.

    The delete-m_j jackknife (Busing, Meijer and van der Leeden, 1999, eq. 5); for equal sizes its
    variance is (G − 1)/G · Σ(θ₍ⱼ₎ − mean)².

    Parameters
    ----------
    value, left
        The score, and the scores without each group, `(G,)`; NaN where undefined.
    sizes
        `(G,)` number of items in each group.
    """
    known = np.isfinite(left) & (sizes > 0)
    share = sizes[known].sum() / sizes[known]
    pseudo = share * value - (share - 1) * left[known]
    centre = (pseudo / share).sum()
    found = np.zeros(len(left))
    found[known] = (pseudo - centre) / np.sqrt((share - 1) * max(int(known.sum()), 1))
    return found


def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations whose squares sum to the variance of the values; none if no value is defined."""
    known = np.isfinite(values)
    if not known.any():
        return np.empty(0)
    return np.where(known, values - values[known].mean(), 0.0) / sqrt(known.sum())


def effective(groups: NDArray[Any]) -> float:
    """Number of equally large groups with the same error as these (Kish, 1965)."""
    sizes = np.unique(groups, return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0
