"""Results of diagnostics, all in one format."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import nan
from typing import Literal

import pandas as pd

View = Literal["dots", "curves", "change", "drift", "shades", "rates"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One number with its reference value.

    Parameters
    ----------
    encoder
        Encoder or control; empty for findings about the data or about a metric.
    quantity
        What was measured, such as ``"participation ratio"`` or ``"dose, R²"``.
    condition
        What was varied: ``"rotated by 90°"``, ``"TVN"``, ``"layer 3"``; else empty.
    at
        The condition as a number, such as an effect size; else NaN.
    value, low, high
        The number and its 95 % confidence interval, or NaN.
    reference, reference_name
        The number to compare with, and its name: ``"chance"``, ``"expected"``, ``"as it is"``.
    n_items, n_groups, seeds
        Sample sizes; 0 groups if nothing is grouped.
    fitted_on
        Data that models were fitted on.
    note
        A short remark.
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
    """One question about embeddings, with its findings.

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
        Conclusions from the numbers, one sentence each.
    not_computed
        What could not be computed, and why, one sentence each.
    view
        How the report draws it: ``"dots"`` for values with a reference, ``"curves"`` over
        `Finding.at`, ``"change"`` for scores before and after, ``"drift"`` on a scale of its own,
        ``"shades"`` for a shaded table, ``"rates"`` for detection rates over `Finding.at`.
    order
        Position in the report: below 0 before the map, lowest first; above 0 at the end.
    unit
        Unit of `Finding.at`, such as ``"plates"``.
    scores_again
        Whether quantities are scores of the evaluation, with the same chance level.
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
    """Tidy table of all findings, one per row; the first column names the diagnostic."""
    lines = [{"diagnostic": d.name, **asdict(f)} for d in diagnostics for f in d.findings]
    columns = ["diagnostic", *Finding.__dataclass_fields__]
    return pd.DataFrame(lines, columns=columns)
