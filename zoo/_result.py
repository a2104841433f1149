"""The outcome of an evaluation: numbers that never stand alone, and what they allow one to say."""

import io
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoo.registry import EncoderSpec

from ._data.dataset import Dataset
from ._embedding.embed import Embeddings
from ._evaluation.findings import Diagnostic, findings_table
from ._evaluation.verdict import DRAWS, Estimate, Verdict

if TYPE_CHECKING:
    from rich.table import Table

_NAME_WIDTH = 28
_CELL_WIDTH = 14


@dataclass(frozen=True)
class Row:
    """One score of the encoder and of every control.

    Parameters
    ----------
    task, metric, chance
        What was asked, how it is counted, and what an embedding gets that knows nothing.
    estimates
        Score and interval by name; the encoder comes first.
    verdict
        What may be said.
    n_items, n_groups
        Items scored and independent groups among them.
    permutations
        Of the labels, whose mean score is `chance`.
    left_out
        Items that could not take part, in words.
    """

    task: str
    metric: str
    chance: float
    estimates: Mapping[str, Estimate]
    verdict: Verdict
    n_items: int
    n_groups: int
    permutations: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What `zoo.evaluate` returns; print it, or write it with `to_html` and `to_csv`.

    Parameters
    ----------
    encoder
        Name of the encoder under test.
    dataset
        What it was tested on.
    rows
        One for each score.
    embeddings
        Of the encoder under test.
    contenders
        Record and provenance (one for each seed) of the encoder and of every control.
    diagnostics
        What else was asked, in the order of the report; empty for the suite "scores".
    absent
        Controls that could not take part, with the reason.
    doubts
        What a reader must know before any score, one sentence each.
    """

    encoder: str
    dataset: Dataset
    rows: tuple[Row, ...]
    embeddings: Embeddings
    contenders: Mapping[str, tuple[EncoderSpec, list[dict[str, Any]]]]
    diagnostics: tuple[Diagnostic, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    @property
    def findings(self) -> pd.DataFrame:
        """Tidy table of all diagnostics: one line for each number."""
        return findings_table(self.diagnostics)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One for each row."""
        return tuple(row.verdict for row in self.rows)

    @property
    def headline(self) -> str:
        """Everything in one sentence."""
        total = len(self.rows)
        tally = Counter(
            f"{v.outcome} {v.control}" if v.outcome in ("matched by", "beaten by") else v.outcome
            for v in self.verdicts
        )
        won = tally.pop("beats all controls", 0)
        rest = ", ".join(f"{what} in {n}" for what, n in tally.most_common())
        sentence = f"{self.encoder} beats all controls in {won} of {total} scores"
        return f"{sentence}; {rest}." if rest else f"{sentence}."

    @property
    def table(self) -> pd.DataFrame:
        """Tidy scores: one line for each encoder and metric."""
        lines = []
        for row in self.rows:
            for name, e in row.estimates.items():
                spec, provenance = self.contenders[name]
                own = name == self.encoder
                lines.append(
                    {
                        "encoder": name,
                        "role": "subject" if own else "control",
                        "control": None if own else spec.control,
                        "dataset": self.dataset.name,
                        "task": row.task,
                        "metric": row.metric,
                        "score": e.value,
                        "low": e.low,
                        "high": e.high,
                        "chance": row.chance,
                        "n_items": row.n_items,
                        "n_groups": row.n_groups,
                        "permutations": row.permutations,
                        "seeds": len(provenance),
                        "outcome": row.verdict.outcome if own else None,
                        "against": row.verdict.control if own else None,
                        "gap": row.verdict.gap if own else None,
                        "gap_low": row.verdict.low if own else None,
                        "gap_high": row.verdict.high if own else None,
                    }
                )
        return pd.DataFrame(lines)

    def label(self, name: str) -> str:
        """Name of a contender with its number of seeds, where they are several."""
        seeds = len(self.contenders[name][1])
        return name if seeds == 1 else f"{name} ({seeds} seeds)"

    def method(self) -> str:
        """Say in two sentences how the numbers were made."""
        spec = self.dataset.spec
        group = spec.group if spec else "group"
        counts = sorted({row.permutations for row in self.rows})
        times = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return (
            f"Whatever is fitted is fitted on training folds, between which no {group} is split. "
            f"Chance is the mean score for {times} permutations of the labels in the same folds. "
            f"Intervals are 95 % bootstraps over {group}s, widened for few of them, {DRAWS} "
            "resamples of the held-out answers, the same for all; they do not cover another choice "
            "of training data. An encoder beats all controls only if its paired gap to each lies "
            "above zero."
        )

    def to_csv(self, path: str | Path) -> None:
        """Write `table`."""
        self.table.to_csv(path, index=False)

    def write(self, folder: str | Path) -> tuple[Path, ...]:
        """Write the page and its numbers into a folder, and return the files.

        ``index.html``, ``scores.csv`` and, of the full suite, ``diagnostics.csv``; the tables as
        Parquet too where pyarrow is installed.

        Raises
        ------
        MissingExtraError
            Without jinja2.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tables = {"scores": self.table}
        if self.diagnostics:
            tables["diagnostics"] = self.findings
        written = [folder / "index.html"]
        for name, table in tables.items():
            written.append(folder / f"{name}.csv")
            table.to_csv(written[-1], index=False)
            if find_spec("pyarrow") is not None:
                written.append(folder / f"{name}.parquet")
                table.to_parquet(written[-1], index=False)
        self.to_html(written[0])
        return tuple(written)

    def to_html(self, path: str | Path) -> None:
        """Write one self-contained page that opens without a network.

        Raises
        ------
        MissingExtraError
            Without jinja2.
        """
        from ._report.page import write_report

        write_report(self, Path(path))

    def render(self, *, width: int = 120, colour: bool = False) -> str:
        """Return the table and the verdicts as text of a width in characters."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        out = io.StringIO()
        console = Console(
            file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False
        )
        title: str | None = f"{self.encoder} on {self.dataset.name}"
        for rows in _side_by_side(self.rows, width - _NAME_WIDTH - 1):
            console.print(self._scores(rows, title))
            title = None

        verdicts = Table(
            title="Verdicts",
            title_style="bold",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        for heading in ("score", "what may be said", "gap to that control"):
            verdicts.add_column(heading, overflow="fold")
        styles = {"beats all controls": "green", "matched by": "yellow"}
        for row in self.rows:
            v = row.verdict
            said = Text(v.words, style=styles.get(v.outcome, "red"))
            for note in row.left_out:
                said.append(f"\nleft out: {note}", style="dim")
            gap = f"{v.gap:+.2f} [{v.low:+.2f}, {v.high:+.2f}]" if v.control else ""
            verdicts.add_row(Text(f"{row.task}, {row.metric}"), said, Text(gap))
        console.print(verdicts)
        for diagnostic in self.diagnostics:
            if diagnostic.said or diagnostic.refused:
                console.print(Text(diagnostic.title, style="bold"))
            for sentence in diagnostic.said:
                console.print(Text(f"  {sentence}"))
            for sentence in diagnostic.refused:
                console.print(Text(f"  not asked: {sentence}", style="dim"))
        for name, reason in self.absent.items():
            console.print(Text(f"left out: {name}: {reason}", style="dim"))
        for sentence in self.doubts:
            console.print(Text(sentence, style="yellow"))
        console.print(Text(self.headline, style="bold"))
        console.print(Text(self.method(), style="dim"))
        return out.getvalue()

    def _scores(self, rows: Sequence[Row], title: str | None) -> "Table":
        from rich import box
        from rich.table import Table
        from rich.text import Text

        scores = Table(
            title=None if title is None else Text(title),
            title_style="bold",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        scores.add_column("", overflow="fold", width=_NAME_WIDTH)
        for row in rows:
            scores.add_column(Text(_heading(row)), justify="right", no_wrap=True)
        for name in rows[0].estimates:
            style = "bold cyan" if name == self.encoder else None
            cells = [Text(_cell(row.estimates[name])) for row in rows]
            scores.add_row(Text(_fold(self.label(name))), *cells, style=style)
        scores.add_row("chance", *[f"{row.chance:.2f}" for row in rows], style="dim")
        scores.add_row("items in groups", *map(_support, rows), style="dim")
        return scores

    def __str__(self) -> str:
        return self.render()


def _cell(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}\n[{estimate.low:.2f}, {estimate.high:.2f}]"


def _support(row: Row) -> str:
    return f"{row.n_items} in {row.n_groups}"


def _fold(label: str) -> str:
    """Break a long name before its last part; cells have two lines anyway."""
    if len(label) <= _NAME_WIDTH:
        return label
    places = [label.rfind("/"), label.rfind("("), label.find(":") + 1]
    place = next((p for p in places if 0 < p <= _NAME_WIDTH), 0)
    return f"{label[:place]}\n{label[place:]}" if place else label


def _heading(row: Row) -> str:
    """Break a heading into short lines, so that columns stay narrow."""
    short = row.metric.replace("balanced accuracy", "bal. acc.").replace("linear probe", "probe")
    short = short.replace(" bal", "\nbal").replace("Spearman ρ", "Spearman")
    return "\n".join([*textwrap.wrap(row.task, _CELL_WIDTH), short])


def _side_by_side(rows: Sequence[Row], width: int) -> Iterator[list[Row]]:
    """Divide scores into as many tables as have room for their columns."""
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
