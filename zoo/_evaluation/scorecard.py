"""Scores of an encoder and its controls, with intervals and verdicts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoo.registry import EncoderSpec

from .._data.dataset import Dataset
from .._data.design import design_of
from .._embedding.embeddings import Embeddings
from .bootstrap import DRAWS, Estimate
from .findings import Diagnostic, findings_table
from .verdict import Verdict

if TYPE_CHECKING:
    pass


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
class Scorecard:
    """Every score of an encoder beside those of its controls, as data.

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
    skipped_controls
        Controls that could not take part, with the reason.
    warnings
        What a reader must know before any score, one sentence each.
    """

    encoder: str
    dataset: Dataset
    rows: tuple[Row, ...]
    embeddings: Embeddings
    contenders: Mapping[str, tuple[EncoderSpec, list[dict[str, Any]]]]
    diagnostics: tuple[Diagnostic, ...] = ()
    skipped_controls: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

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
        group = design_of(self.dataset).group
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
