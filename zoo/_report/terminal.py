"""A scorecard, or a comparison of two, as terminal text."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._evaluation.comparison import Gap
from .._evaluation.intervals import Estimate
from .._evaluation.scorecard import Row, Scorecard
from .._evaluation.verdict import DIFFERENCE, detectable, difference

_NAME_WIDTH = 28
_CELL_WIDTH = 14


def render(card: Scorecard, *, width: int = 120, colour: bool = False) -> str:
    """Return scores, verdicts and conclusions as text of a width in characters."""
    out = io.StringIO()
    console = _console(out, width, colour)
    title: str | None = f"{card.encoder} on {card.dataset.name}"
    for rows in _side_by_side(card.rows, width - _NAME_WIDTH - 1):
        console.print(_scores(card, rows, title))
        title = None

    verdicts = _table("Verdicts")
    for heading in ("score", "verdict", DIFFERENCE, "detectable", "n (groups)"):
        verdicts.add_column(heading, overflow="fold")
    styles = {"beats all controls": "green", "no better than": "yellow", "undecided": "yellow"}
    for row in card.rows:
        v = row.verdict
        verdict = Text(v.summary, style=styles.get(v.outcome, "red"))
        for note in row.left_out:
            verdict.append(f"\nleft out: {note}", style="dim")
        verdicts.add_row(
            Text(f"{row.task}, {row.metric}"),
            verdict,
            Text(difference(v)),
            detectable(v),
            _support(row),
        )
    console.print(verdicts)
    for diagnostic in card.diagnostics:
        if diagnostic.conclusions or diagnostic.not_computed:
            console.print(Text(diagnostic.title, style="bold"))
        for sentence in diagnostic.conclusions:
            console.print(Text(f"  {sentence}"))
        for sentence in diagnostic.not_computed:
            console.print(Text(f"  not computed: {sentence}", style="dim"))
    for name, reason in card.skipped_controls.items():
        console.print(Text(f"left out: {name}: {reason}", style="dim"))
    for sentence in card.warnings:
        console.print(Text(sentence, style="yellow"))
    console.print(Text(card.headline, style="bold"))
    console.print(Text(card.method(), style="dim"))
    return out.getvalue()


def render_comparison(
    first: Scorecard,
    second: Scorecard,
    gaps: Sequence[Gap],
    headline: str,
    *,
    width: int = 120,
    colour: bool = False,
) -> str:
    """Return the differences between two encoders as text of a width in characters."""
    out = io.StringIO()
    console = _console(out, width, colour)
    a, b = first.encoder, second.encoder
    table = _table(f"{a} and {b} on {first.dataset.name}")
    for heading in ("score", a, b, "first minus second (95 % CI)", "verdict"):
        table.add_column(Text(heading), overflow="fold")
    for gap, x, y in zip(gaps, first.rows, second.rows, strict=True):
        style = {"first": "green", "second": "yellow"}.get(gap.winner)
        table.add_row(
            Text(f"{gap.task}, {gap.metric}"),
            Text(f"{x.estimates[a].value:.2f}\n").append(x.verdict.summary, style="dim"),
            Text(f"{y.estimates[b].value:.2f}\n").append(y.verdict.summary, style="dim"),
            f"{gap.gap:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]",
            Text(gap.summary, style=style or ""),
        )
    console.print(table)
    for sentence in dict.fromkeys([*first.warnings, *second.warnings]):
        console.print(Text(sentence, style="yellow"))
    console.print(Text(headline, style="bold"))
    console.print(Text(first.method(), style="dim"))
    return out.getvalue()


def _console(out: io.StringIO, width: int, colour: bool) -> Console:
    return Console(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False
    )


def _table(title: str | None, **more: Any) -> Table:
    return Table(
        title=None if title is None else Text(title),
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        **more,
    )


def _scores(card: Scorecard, rows: Sequence[Row], title: str | None) -> Table:
    scores = _table(title, padding=(0, 1, 0, 0))
    scores.add_column("", overflow="fold", width=_NAME_WIDTH)
    for row in rows:
        scores.add_column(Text(_heading(row)), justify="right", no_wrap=True)
    for name in rows[0].estimates:
        style = "bold cyan" if name == card.encoder else None
        cells = [Text(_cell(row.estimates[name])) for row in rows]
        scores.add_row(Text(_fold(card.label(name))), *cells, style=style)
    scores.add_row("chance", *[f"{row.chance:.2f}" for row in rows], style="dim")
    scores.add_row("n (groups)", *map(_support, rows), style="dim")
    return scores


def _cell(estimate: Estimate) -> str:
    value, low, high = (
        f"{round(x, 2) + 0:.2f}" for x in (estimate.value, estimate.low, estimate.high)
    )  # no minus zero
    return f"{value}\n[{low}, {high}]"


def _support(row: Row) -> str:
    return f"{row.n_items} ({row.n_groups})"


def _fold(label: str) -> str:
    """Break a long name before its last part; cells have two lines."""
    if len(label) <= _NAME_WIDTH:
        return label
    places = [label.rfind("/"), label.rfind("("), label.find(":") + 1]
    place = next((p for p in places if 0 < p <= _NAME_WIDTH), 0)
    return f"{label[:place]}\n{label[place:]}" if place else label


def _heading(row: Row) -> str:
    """Break a heading into short lines, to keep columns narrow."""
    short = row.metric.replace("balanced accuracy", "bal. acc.").replace("linear probe", "probe")
    short = (
        short.replace(" bal", "\nbal")
        .replace("Spearman ρ", "Spearman")
        .replace(" across", "\nacross")
    )
    return "\n".join([*textwrap.wrap(row.task, _CELL_WIDTH), short])


def _side_by_side(rows: Sequence[Row], width: int) -> Iterator[list[Row]]:
    """Split scores into tables that fit the width."""
    columns: list[Row] = []
    taken = 0
    for row in rows:
        cells = [_heading(row), *map(_cell, row.estimates.values())]
        cells.append(_support(row))
        needed = 1 + max(len(line) for cell in cells for line in cell.split("\n"))
        if columns and taken + needed > width:
            yield columns
            columns, taken = [], 0
        columns.append(row)
        taken += needed
    if columns:
        yield columns
