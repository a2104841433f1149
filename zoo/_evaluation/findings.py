"""What a diagnostic found: numbers in one shape, whatever was asked."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import nan
from typing import Literal

import pandas as pd

View = Literal["dots", "curves", "change", "drift", "shades", "rates"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One number, and what it has to be read beside.

    Parameters
    ----------
    encoder
        Encoder or control that it is about; empty where it is about the data or a metric.
    quantity
        What was measured, such as ``"participation ratio"`` or ``"dose, R²"``.
    condition
        What was done or varied: ``"rotated by 90°"``, ``"TVN"``, ``"layer 3"``; empty for nothing.
    at
        The condition as a number, where it is one, such as an effect size; else NaN.
    value, low, high
        The number and its 95 % interval; NaN where there is none.
    reference, reference_name
        The number to read it beside and what that is: ``"chance"``, ``"expected"``, ``"as it is"``.
    n_items, n_groups, seeds
        What supports it; 0 groups where nothing was grouped.
    fitted_on
        What anything that was fitted was fitted on.
    note
        One clause that a reader must know.
    """

    encoder: str = ""
    quantity: str
    condition: str = ""
    at: float = nan
    value: float
    low: float = nan
    high: float = nan
    reference: float = nan
    reference_name: str = ""
    n_items: int = 0
    n_groups: int = 0
    seeds: int = 1
    fitted_on: str = "nothing"
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One question about embeddings, with everything found.

    Parameters
    ----------
    name
        One word for tables: ``"geometry"``.
    title
        Heading of the report.
    how_to_read
        How to read the numbers, in a sentence or two.
    findings
        The numbers.
    conclusions
        What follows from them, one sentence each.
    not_computed
        What could not be computed or must not be claimed, and why, one sentence each.
    view
        How the report draws it: ``"dots"`` for values beside a reference, ``"curves"`` over
        `Finding.at`, ``"change"`` for scores before and after, ``"drift"`` on a scale of its own,
        ``"shades"`` for a shaded table, ``"rates"`` for detection rates over `Finding.at`.
    order
        Where the report shows it: below 0 before the map, the lowest first; above 0 at the end.
    unit
        What `Finding.at` counts, such as ``"plates"``.
    scores_again
        Whether quantities are scores of the evaluation, so that their chance is known.
    """

    name: str
    title: str
    how_to_read: str
    findings: tuple[Finding, ...] = ()
    conclusions: tuple[str, ...] = ()
    not_computed: tuple[str, ...] = ()
    view: View = "dots"
    order: int = 0
    unit: str = ""
    scores_again: bool = False


def findings_table(diagnostics: Iterable[Diagnostic]) -> pd.DataFrame:
    """Tidy table of all findings, one a line, with the diagnostic's name in front."""
    lines = [{"diagnostic": d.name, **asdict(f)} for d in diagnostics for f in d.findings]
    columns = ["diagnostic", *Finding.__dataclass_fields__]
    return pd.DataFrame(lines, columns=columns)
