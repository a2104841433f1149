"""The findings of a diagnostic as small tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from .._evaluation.findings import Diagnostic, Finding
from .blocks import blocks, common_reference, unique
from .marks import interval, number

MOST_COLUMNS = 8
MOST_NOTES = 6
Shade = Literal["", "own", "rival", "word"]
_SIDES: dict[str, tuple[Shade, str]] = {
    "biology": ("own", "biology found, by effect"),
    "shortcut": ("rival", "shortcut taken for it, by effect"),
}


@dataclass(frozen=True)
class Cell:
    """A number in words; `depth` in percent shades it, `mark` refers to a note."""

    text: str
    small: str = ""
    mark: str = ""
    depth: int | None = None
    shade: Shade = ""


@dataclass(frozen=True)
class Row:
    """A cell or None for each column; `own` is the encoder under test."""

    name: str
    own: bool
    cells: tuple[Cell | None, ...]
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """Rows below columns, which can have headings `over` them, as words and how many they span.

    `foot` is what whole columns are read beside.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    over: tuple[tuple[str, int], ...] = ()
    foot: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    shaded: bool = False


def tables(diagnostic: Diagnostic, subject: str) -> tuple[Table, ...]:
    """Arrange findings: contenders down, quantities or conditions across.

    Where all quantities have one condition each, they share a table, such as mixing beside
    conservation; that of known factors is shaded.
    """
    found = diagnostic.findings
    if diagnostic.view == "rates" and (shaded := _validation(diagnostic)) is not None:
        return (shaded,)
    parts = blocks(found)
    made: list[Table] = []
    alone = [b for b in parts if len(b.conditions) == 1]
    if alone:
        columns = [(q, b.conditions[0]) for b in alone for q in b.quantities]
        over = _runs(condition for _, condition in columns)
        shaded_too = diagnostic.view == "shades"
        table = _table("", columns, [q for q, _ in columns], found, subject, over, shaded_too)
        made.append(_turned(table) if len(columns) > MOST_COLUMNS and not over else table)
    for block in parts:
        if block in alone:
            continue
        if block.by_condition:
            for condition in block.conditions:
                columns = [(q, condition) for q in block.quantities]
                made.append(_table(condition, columns, block.quantities, found, subject))
        else:
            for quantity in block.quantities:
                columns = [(quantity, c) for c in block.conditions]
                made.append(_table(quantity, columns, block.conditions, found, subject))
    return tuple(made)


def support(found: Sequence[Finding]) -> str:
    """Say what all numbers rest on: items, groups, seeds, and what was fitted on what."""
    parts = []
    for what, values in (
        ("item", [f.n_items for f in found if f.n_items]),
        ("group", [f.n_groups for f in found if f.n_groups]),
        ("seed", [f.seeds for f in found if f.seeds > 1]),
    ):
        if values:
            low, high = min(values), max(values)
            if what == "seed":
                parts.append(f"up to {high} seeds")
            else:
                parts.append(f"{low}" + f" to {high}" * (high > low) + f" {what}{'s' * (high > 1)}")
    fitted = unique(f.fitted_on for f in found if f.fitted_on and f.fitted_on != "nothing")
    if not fitted:
        parts.append("nothing is fitted")
    elif len(fitted) <= 3:
        parts.append("fitted on " + " or on ".join(fitted))
    return "; ".join(parts) + "."


def _table(
    title: str,
    columns: Sequence[tuple[str, str]],
    headings: Sequence[str],
    found: Sequence[Finding],
    subject: str,
    over: tuple[tuple[str, int], ...] = (),
    shaded: bool = False,
) -> Table:
    by = {(f.encoder, f.quantity, f.condition): f for f in found}
    names = [n for n in unique(f.encoder for f in found) if any((n, *c) in by for c in columns)]
    beside = [common_reference(by[n, *c] for n in names if (n, *c) in by) for c in columns]
    labels = unique(label for label, _ in filter(None, beside))
    foot = tuple(
        (label, tuple(number(b[1]) if b and b[0] == label else "" for b in beside))
        for label in labels
    )
    shown = [by[n, *c] for n in names for c in columns if (n, *c) in by]
    notes = unique(f.note for f in shown if f.note)
    of_rows = {n: {by[n, *c].note for c in columns if (n, *c) in by} for n in names}
    same = len(notes) == 1 and all(f.note for f in shown)
    by_row = not same and all(len(found) == 1 for found in of_rows.values())
    few = len(notes) <= MOST_NOTES and not same and not by_row
    marks = {n: str(k + 1) for k, n in enumerate(notes)} if few else {}
    whole = [_whole(by[n, *c].value for n in names if (n, *c) in by) for c in columns]
    rows = []
    for name in names:
        cells: list[Cell | None] = []
        for column, common, count in zip(columns, beside, whole, strict=True):
            f = by.get((name, *column))
            if f is None:
                cells.append(None)
            else:
                cells.append(_cell(f, common is None, marks.get(f.note, ""), shaded, count))
        detail = of_rows[name].pop() if by_row else ""
        rows.append(Row(name or "all", name == subject, tuple(cells), detail))
    listed = tuple(notes) if same else tuple(f"{mark}: {note}" for note, mark in marks.items())
    shown_as = tuple(h or "value" for h in headings)
    return Table(title, shown_as, tuple(rows), over, foot, listed, shaded)


def _whole(values: Iterable[float]) -> bool:
    """Whether a column counts something, and needs no decimals."""
    known = [v for v in values if isfinite(v)]
    return all(v == round(v) for v in known) and max(known, default=0) >= 2


def _cell(f: Finding, with_reference: bool, mark: str, shaded: bool, whole: bool) -> Cell:
    small = [interval(f.low, f.high)]
    if with_reference and isfinite(f.reference) and f.reference_name:
        small.append(f"{f.reference_name} {number(f.reference)}")
    depth = round(100 * min(max(f.value, 0), 1)) if shaded and isfinite(f.value) else None
    text = f"{f.value:.0f}" if whole and isfinite(f.value) else number(f.value)
    return Cell(text, "; ".join(filter(None, small)), mark, depth, "own")


def _runs(values: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Equal neighbours counted; nothing where they have no name."""
    runs: list[tuple[str, int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1] + 1)
        else:
            runs.append((value, 1))
    return tuple(runs) if any(name for name, _ in runs) else ()


def _turned(table: Table) -> Table:
    """Turn quantities down and contenders across, where quantities are too many side by side."""
    columns = (*(row.name for row in table.rows), *(label for label, _ in table.foot))
    rows = []
    for k, quantity in enumerate(table.columns):
        cells = [row.cells[k] for row in table.rows]
        cells += [Cell(values[k]) if values[k] else None for _, values in table.foot]
        rows.append(Row(quantity, False, tuple(cells)))
    return Table(table.title, columns, tuple(rows), notes=table.notes)


def _validation(diagnostic: Diagnostic) -> Table | None:
    """Detection rates of every metric, biology beside the shortcut, and what follows for it."""
    from .._diagnostics.metric_validation import metric_verdicts

    rates = {(f.quantity, f.encoder, f.at): f.value for f in diagnostic.findings}
    metrics, sides = (
        unique(getattr(f, k) for f in diagnostic.findings) for k in ("quantity", "encoder")
    )
    effects = sorted({f.at for f in diagnostic.findings})
    complete = len(rates) == len(metrics) * len(sides) * len(effects)
    if {*sides} != {*_SIDES} or not complete or not all(map(isfinite, effects)):
        return None
    judged = metric_verdicts(diagnostic)
    order = ("diagnostic", "insufficient", "blind")
    rows = []
    for metric in sorted(metrics, key=lambda m: order.index(judged[m])):
        cells = [Cell(judged[metric], shade="word")]
        for side, (shade, _) in _SIDES.items():
            for effect in effects:
                rate = rates[metric, side, effect]
                depth = round(100 * rate) if isfinite(rate) else None
                cells.append(Cell("–" if depth is None else f"{depth} %", depth=depth, shade=shade))
        rows.append(Row(metric, False, tuple(cells)))
    names = [f"{e:g}" for e in effects]
    over = (("", 1), *((words, len(names)) for _, words in _SIDES.values()))
    return Table("", ("the metric is", *names, *names), tuple(rows), over, shaded=True)
