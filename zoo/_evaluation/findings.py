"""What a diagnostic found: numbers in one shape, whatever was asked."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import nan

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One number, and what it has to be read beside.

    Parameters
    ----------
    contender
        Encoder or control that it is about; empty where it is about the data or a metric.
    quantity
        What was measured, such as ``"participation ratio"`` or ``"dose, R²"``.
    condition
        What was done or varied: ``"rotated by 90°"``, ``"TVN"``, ``"layer 3"``; empty for nothing.
    value, low, high
        The number and its 95 % interval; NaN where there is none.
    reference, beside
        The number to read it beside and what that is: ``"chance"``, ``"expected"``, ``"as it is"``.
    n_items, n_groups, seeds
        What supports it; 0 groups where nothing was grouped.
    fitted_on
        What anything that was fitted was fitted on.
    note
        One clause that a reader must know.
    """

    contender: str = ""
    quantity: str
    condition: str = ""
    value: float
    low: float = nan
    high: float = nan
    reference: float = nan
    beside: str = ""
    n_items: int = 0
    n_groups: int = 0
    seeds: int = 1
    fitted_on: str = "nothing"
    note: str = ""


@dataclass(frozen=True)
class Diagnostic:
    """One question about embeddings, with everything found.

    Parameters
    ----------
    name
        One word for tables: ``"geometry"``.
    title
        Heading of the report.
    reading
        How to read the numbers, in a sentence or two.
    findings
        The numbers.
    said
        What follows from them, one sentence each.
    refused
        What could not be asked or must not be claimed, and why, one sentence each.
    """

    name: str
    title: str
    reading: str
    findings: tuple[Finding, ...] = ()
    said: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def findings_table(diagnostics: Iterable[Diagnostic]) -> pd.DataFrame:
    """Tidy table of all findings, one a line, with the diagnostic's name in front."""
    lines = [{"diagnostic": d.name, **asdict(f)} for d in diagnostics for f in d.findings]
    columns = ["diagnostic", *Finding.__dataclass_fields__]
    return pd.DataFrame(lines, columns=columns)
