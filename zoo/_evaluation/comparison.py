"""Paired differences between two encoders."""

from dataclasses import dataclass
from typing import Literal

Winner = Literal["first", "second", "neither", "no verdict"]


@dataclass(frozen=True)
class Gap:
    """The paired difference of two encoders in one score.

    Parameters
    ----------
    task, metric
        Title of the task and name of the metric.
    gap, low, high
        First minus second, with its 95 % confidence interval over groups.
    winner
        Which encoder is ahead; ``"neither"`` if the interval contains 0.
    summary
        The winner as a phrase.
    """

    task: str
    metric: str
    gap: float
    low: float
    high: float
    winner: Winner
    summary: str
