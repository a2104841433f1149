"""Scores of an encoder and its controls, with confidence intervals and verdicts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.registry import EncoderSpec

from .._data.dataset import Dataset
from .._data.design import design_of
from .._embedding.embeddings import Embeddings
from .findings import Diagnostic, findings_table
from .intervals import DRAWS, ERROR, Estimate
from .leaks import is_trained_on
from .verdict import Verdict


@dataclass(frozen=True)
class Row:
    """One score of the encoder and of every control.

    Parameters
    ----------
    task, metric, chance
        Title of the task, name of the metric, and its mean over permuted labels.
    estimates
        Score and confidence interval by name; the encoder comes first.
    verdict
        Comparison with chance and with the controls.
    n_items, n_groups
        Items scored and independent groups among them.
    permutations
        Number of label permutations behind `chance`.
    left_out
        Items that were left out, with the reason.
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
    """All scores of an encoder and of its controls.

    Parameters
    ----------
    encoder
        Name of the encoder under test.
    dataset
        The dataset with its design.
    rows
        One for each score.
    embeddings
        Embeddings of the encoder under test.
    contenders
        Record and provenance (one for each seed) of the encoder and of every control.
    diagnostics
        Further questions, in the order of the report; empty for the suite "scores".
    skipped_controls
        Controls that could not be computed, with the reason.
    warnings
        Problems with the data that affect all scores, one sentence each.
    determined_by
        Columns that tell the label, such as a batch, with how well they do.
    """

    encoder: str
    dataset: Dataset
    rows: tuple[Row, ...]
    embeddings: Embeddings
    contenders: Mapping[str, tuple[EncoderSpec, list[dict[str, Any]]]]
    diagnostics: tuple[Diagnostic, ...] = ()
    skipped_controls: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    determined_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def findings(self) -> pd.DataFrame:
        """Tidy table of all diagnostics: one row for each number."""
        return findings_table(self.diagnostics)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One for each row."""
        return tuple(row.verdict for row in self.rows)

    @property
    def headline(self) -> str:
        """The verdicts in one sentence, and what several scores together allow one to say."""
        total = len(self.rows)
        tally = Counter(
            f"{v.outcome} {v.control}"
            if v.outcome in ("no better than", "worse than")
            else v.outcome
            for v in self.verdicts
        )
        won = tally.pop("beats all controls", 0)
        rest = ", ".join(f"{what} in {n}" for what, n in tally.most_common())
        sentence = f"{self.encoder} beats all controls in {won} of {total} scores"
        if won and total > 1:
            kept = len(self.beaten_jointly)
            sentence += f" ({kept} after Holm correction for {total} scores)"
        sentence = f"{sentence}; {rest}." if rest else f"{sentence}."
        if is_trained_on(self.contenders[self.encoder][0], self.dataset):
            sentence += f" It was trained on {self.dataset.name}, so this is not about new data."
        label = design_of(self.dataset).label
        for column, how in self.determined_by.items():
            sentence += f" {label} is {how} by {column}: a score is no evidence of biology then."
        return sentence

    @property
    def beaten_jointly(self) -> tuple[Row, ...]:
        """Scores in which the encoder beats all controls after correction for their number.

        Holm's procedure (1979) on the p-values of the verdicts: the probability that any of these
        claims is false is at most 2.5 %, however the scores depend on each other.
        """
        ordered = sorted(
            (r for r in self.rows if r.verdict.outcome == "beats all controls"),
            key=lambda r: r.verdict.p_value,
        )
        kept = takewhile(
            lambda at: at[1].verdict.p_value < ERROR / (len(self.rows) - at[0]), enumerate(ordered)
        )
        return tuple(row for _, row in kept)

    @property
    def table(self) -> pd.DataFrame:
        """Tidy scores: one row for each encoder and metric."""
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
                        "margin": row.verdict.margin if own else None,
                        "detectable": row.verdict.detectable if own else None,
                        "power": row.verdict.power if own else None,
                        "p_value": row.verdict.p_value if own else None,
                    }
                )
        return pd.DataFrame(lines)

    def label(self, name: str) -> str:
        """Name of a contender, with its number of seeds if there are several."""
        seeds = len(self.contenders[name][1])
        return name if seeds == 1 else f"{name} ({seeds} seeds)"

    def method(self) -> str:
        """Describe how scores, chance and confidence intervals were computed."""
        group = design_of(self.dataset).group
        counts = sorted({row.permutations for row in self.rows})
        times = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return (
            f"All models are fitted on training folds only; folds never split a {group}. "
            f"Chance is the mean score over {times} permutations of the labels, in the same folds. "
            f"Confidence intervals (95 %) are over {group}s, for another sample of them: {DRAWS} "
            "bootstrap resamples of the held-out predictions, with a standard error that is raised "
            "for the choice of training data; for retrieval the jackknife, which leaves each "
            f"{group} out of queries and gallery. An encoder beats all controls only if the "
            "interval of its paired difference to each lies above zero; it is worse than a "
            "control, or no better, by bounds for all controls together; no better means better "
            "by less than the margin of the metric. What is detectable is the smallest true "
            f"difference that as many {group}s find in 80 % of samples. An encoder that is as good "
            f"as a control beats it by chance in at most 2.5 % of scores: of {len(self.rows)}, "
            f"{len(self.rows) * ERROR:.2f} are expected."
        )

    def to_csv(self, path: str | Path) -> None:
        """Write `table`."""
        self.table.to_csv(path, index=False)
