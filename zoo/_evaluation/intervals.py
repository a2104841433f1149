"""Confidence intervals over independent groups.

Predictions that were made out of fold are resampled by the bootstrap of groups; its standard error
is too small, for another sample would also have trained another model, and is raised by a factor
that simulation gave (`inflation`). Retrieval has no training, but its gallery is a sample too: the
delete-one-group jackknife leaves a group out of queries and gallery. What pairs of groups add to
the error, one of queries and one of the gallery, it counts twice; this is taken off once. What is
taken off is estimated too, for which the standard error is raised a little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
INFLATION = 1.25
INFLATION_OF_RETRIEVAL = 1.05
# A model that has little to learn from needs more: 1 + 5 / n for ROC AUC of n items, and so on.
FEW_ITEMS = {"separation": 5.0, "dose": 2.5}


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
    doubled
        What each pair of groups adds to the error and `deviations` count twice: the sum of the
        squares is taken off the variance.
    """

    value: float
    deviations: NDArray[np.float64]
    degrees: int
    ceiling: float = inf
    doubled: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def error(self) -> float:
        """Standard error; NaN if there is nothing to estimate it from."""
        if len(self.deviations) == 0 or self.degrees <= 0:
            return nan
        whole = float(np.sum(self.deviations**2))
        # No less than is left where pairs of groups make the whole error.
        least = whole * (self.degrees - 1) / (2 * self.degrees) if len(self.doubled) else whole
        return sqrt(max(whole - float(np.sum(self.doubled**2)), least))

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
            doubled=_resolved(self.doubled - other.doubled),
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
        between = np.mean([scored for scored, _ in found], axis=0)
        sizes = found[0][1]
        deviations = jackknifed(value, _left_out(between, sizes), sizes)
        doubled = counted_twice(between, sizes)
        factor = INFLATION_OF_RETRIEVAL
        return Estimate(value, factor * deviations, degrees, 1.0, factor * doubled)
    drawn = np.mean([[s.at(i) for i in draws] for s in scores], axis=0)
    factor = inflation(scores[0].kind, len(tested), degrees + 1)
    return Estimate(value, factor * centred(drawn), degrees, 1.0)


def inflation(kind: str, items: int, groups: int) -> float:
    """Return what the standard error of the bootstrap is multiplied by; NaN for one group.

    The bootstrap of G groups is too small by √((G − 1)/G); the rest is what other training data
    would have changed.
    """
    if groups < 2:
        return nan
    return INFLATION * (1 + FEW_ITEMS.get(kind, 0.0) / items) * sqrt(groups / (groups - 1))


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


def _left_out(between: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean score of the queries of all other groups without each group, from `counted_twice`'s."""
    known = np.isfinite(between) & ~np.eye(len(sizes), dtype=bool)
    weight = np.where(known, sizes[:, None], 0.0)
    total = (weight * np.where(known, between, 0.0)).sum(0)
    with np.errstate(invalid="ignore"):
        return total / weight.sum(0)


def counted_twice(between: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of a jackknife's error that pairs of groups make, which it counts twice.

    The jackknife's variance of a mean over pairs of units is right for what units add and too large
    for what pairs add beyond their units (Efron and Stein, 1981). Here a pair is a group of queries
    and a group of what they rank. Its share of the score follows from the scores without one group,
    as if average precision were a mean over the groups that are ranked; shares of units are fitted
    by least squares, and what is left is what the pair adds.

    Parameters
    ----------
    between
        `(G, G)` score of the queries of each group (rows) without each group (columns), and on the
        diagonal with all; NaN where undefined.
    sizes
        `(G,)` number of items in each group.

    Returns
    -------
    ndarray
        `(G(G − 1)/2,)`, linear in `between`; its squares sum to what the variance has too much.
        Empty for fewer than four groups.
    """
    count = len(sizes)
    if count < 4:
        return np.empty(0)
    total, own = sizes.sum(), np.diag(between)[:, None]
    ranked = np.maximum(total - sizes[:, None], 1)
    share = sizes[:, None] / total * sizes[None] / ranked
    # What group j adds to the score of group i shows when it is left out.
    part = share * own - sizes[:, None] / total * (1 - sizes[None] / ranked) * (between - own)
    known = np.isfinite(part) & np.isfinite(part.T) & ~np.eye(count, dtype=bool)
    part, share = (np.where(known, m + m.T, 0.0) for m in (part, share))
    units = np.linalg.pinv(np.diag(share.sum(1)) + share, hermitian=True) @ part.sum(1)
    rest = part - share * (units[:, None] + units[None])
    # The jackknife counts a pair as often as it does both of its groups, and more for small ones.
    weight = total / count / np.maximum(sizes, 1)
    times = (weight[:, None] + weight[None]) * (count - 1) / (count - 2) - 1
    fitted = (count - 1) / (count - 3)
    return (np.sqrt(np.maximum(times, 0) * fitted) * rest)[np.triu_indices(count, 1)]


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
