"""The paired gaps between two encoders."""

from dataclasses import dataclass
from typing import Literal

Winner = Literal["first", "second", "neither", "no verdict"]


@dataclass(frozen=True)
class Gap:
    """The paired difference of two encoders in one score.

    Parameters
    ----------
    task, metric
        What was asked and how it is counted.
    gap, low, high
        First minus second, with its 95 % interval over groups.
    winner
        Who is ahead; neither where the interval holds 0.
    summary
        That as a phrase.
    """

    task: str
    metric: str
    gap: float
    low: float
    high: float
    winner: Winner
    summary: str
