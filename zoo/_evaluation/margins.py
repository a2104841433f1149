"""Equivalence margins: how large a difference must be to matter, for each metric."""

from collections.abc import Mapping
from math import nan

from zoo.registry import suggest

MARGINS = {
    "balanced accuracy": 0.1,
    "mAP": 0.05,
    "ROC AUC": 0.05,
    "Spearman ρ": 0.1,
    "R²": 0.1,
}


def margins_with(
    given: Mapping[str, float] | None, custom: tuple[str, ...] = ()
) -> dict[str, float]:
    """Return the default margins with some replaced.

    Raises
    ------
    ValueError
        For a metric that has no margin, or a margin that is not a positive number.
    """
    found = dict(MARGINS)
    for metric, margin in (given or {}).items():
        if metric not in (*MARGINS, *custom):
            known = [*MARGINS, *custom]
            raise ValueError(
                f"margins has {metric!r}, but the metrics are {', '.join(known)}."
                f"{suggest(metric, known)}"
            )
        if not 0 < margin < float("inf"):
            raise ValueError(f"the margin of {metric} is {margin}, but must be a positive number")
        found[metric] = float(margin)
    return found


def margin_of(metric: str, margins: Mapping[str, float]) -> float:
    """Margin of a metric; "balanced accuracy" is meant for "5-NN balanced accuracy" too."""
    if metric in margins:
        return margins[metric]
    return next((m for name, m in margins.items() if name in metric.split(" across ")[0]), nan)
