"""Compare two encoders on the same items: paired differences, with the controls of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.registry import Design, EvaluationError

from ._encoders.progress import Progress
from ._evaluate import Source, Suite, evaluate
from ._evaluation.comparison import Gap, Winner
from ._evaluation.contenders import Subject
from ._evaluation.custom_metrics import Metric
from ._evaluation.verdict import MIN_GROUPS
from ._result import Result


@dataclass(frozen=True)
class Comparison:
    """What `zoo.compare` returns; print it, or write its `table`.

    Parameters
    ----------
    first, second
        The evaluation of each, with its own controls.
    gaps
        One for each score.
    """

    first: Result
    second: Result
    gaps: tuple[Gap, ...]

    @property
    def headline(self) -> str:
        """The comparison in one sentence."""
        a, b, total = self.first.encoder, self.second.encoder, len(self.gaps)
        ahead = [sum(g.winner == side for g in self.gaps) for side in ("first", "second")]
        worth = [
            sum(v.outcome == "beats all controls" for v in r.verdicts)
            for r in (self.first, self.second)
        ]
        return (
            f"{a} is ahead of {b} in {ahead[0]} of {total} scores and behind in {ahead[1]}; "
            f"{a} beats all its controls in {worth[0]}, {b} in {worth[1]}."
        )

    @property
    def table(self) -> pd.DataFrame:
        """Tidy differences: one row for each score."""
        names = {"first": self.first.encoder, "second": self.second.encoder}
        lines: list[dict[str, Any]] = []
        for gap, a, b in zip(self.gaps, self.first.rows, self.second.rows, strict=True):
            lines.append(
                {
                    **names,
                    "dataset": self.first.dataset.name,
                    "task": gap.task,
                    "metric": gap.metric,
                    "score_first": a.estimates[names["first"]].value,
                    "score_second": b.estimates[names["second"]].value,
                    "gap": gap.gap,
                    "gap_low": gap.low,
                    "gap_high": gap.high,
                    "ahead": names.get(gap.winner, gap.winner),
                    "verdict_first": a.verdict.summary,
                    "verdict_second": b.verdict.summary,
                    "chance": a.chance,
                    "n_items": a.n_items,
                    "n_groups": a.n_groups,
                }
            )
        return pd.DataFrame(lines)

    def to_csv(self, path: str | Path) -> None:
        """Write `table`."""
        self.table.to_csv(path, index=False)

    def render(self, *, width: int = 120, colour: bool = False) -> str:
        """Return the differences as text of a width in characters."""
        from ._report.terminal import render_comparison

        return render_comparison(
            self.first, self.second, self.gaps, self.headline, width=width, colour=colour
        )

    def __str__(self) -> str:
        return self.render()

    def __repr__(self) -> str:
        return f"<zoo.Comparison: {self.headline}>"


def compare(
    first: Subject,
    second: Subject,
    dataset: Source,
    *,
    data: str | Path | None = None,
    label: str | None = None,
    group: str | None = None,
    batch: str | None = None,
    design: Design | None = None,
    suite: Suite = "scores",
    metrics: Sequence[Metric] = (),
    pairs: pd.DataFrame | None = None,
    controls: Sequence[str] | None = None,
    control_seeds: int | None = None,
    permutations: int | None = None,
    margins: Mapping[str, float] | None = None,
    seed: int = 0,
    cache: bool = True,
    progress: Progress | None = None,
) -> Comparison:
    """Evaluate two encoders on the same items and compare them, paired over groups.

    That one encoder is ahead does not show that either is good: both are also compared with their
    own controls, which get the images after the same preprocessing.

    Parameters
    ----------
    first, second
        As for `evaluate`.
    dataset, data, label, group, batch, design, suite, metrics, pairs, controls, control_seeds
        As for `evaluate`, the same for both.
    permutations, margins, seed, cache, progress
        As for `evaluate`.

    Raises
    ------
    EvaluationError
        When both have the same name, or a task cannot be scored.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> treated = np.tile([0, 1], 12)
    >>> table = pd.DataFrame({"treated": treated, "plate": np.repeat(list("ABCDEF"), 4)})
    >>> rng = np.random.default_rng(0)
    >>> pixels = rng.poisson(20 + 9 * treated[:, None, None, None], (24, 1, 32, 32))
    >>> mine = zoo.Dataset("mine", table, lambda i: zoo.Image(pixels[i].astype(np.uint8)))
    >>> task = zoo.Task(kind="separation", target="treated", title="treated")
    >>> design = zoo.Design(label="treated", group="plate", tasks=(task,))
    >>> names = ("pixel-statistics", "constant")
    >>> found = zoo.compare(*names, mine, design=design, controls=["gaussian"])
    >>> found.gaps[0].metric, found.gaps[0].winner
    ('ROC AUC', 'first')
    """
    options: dict[str, Any] = {
        "data": data,
        "label": label,
        "group": group,
        "batch": batch,
        "design": design,
        "suite": suite,
        "metrics": metrics,
        "pairs": pairs,
        "controls": controls,
        "control_seeds": control_seeds,
        "permutations": permutations,
        "margins": margins,
        "seed": seed,
        "cache": cache,
        "progress": progress,
    }
    results = [evaluate(subject, dataset, **options) for subject in (first, second)]
    a, b = results
    if a.encoder == b.encoder:
        raise EvaluationError(f"both are called {a.encoder}: there is nothing to compare")
    gaps = []
    for x, y in zip(a.rows, b.rows, strict=True):
        mine, theirs = x.estimates[a.encoder], y.estimates[b.encoder]
        found = mine.minus(theirs)
        gap, low, high = found.value, found.low, found.high
        winner: Winner = "neither"
        if x.n_groups < MIN_GROUPS or not low <= high:
            winner, words = "no verdict", f"no verdict: {x.n_groups} groups are too few"
        elif low > 0:
            winner, words = "first", f"{a.encoder} is ahead"
        elif high < 0:
            winner, words = "second", f"{b.encoder} is ahead"
        else:
            words = "no significant difference"
        gaps.append(Gap(x.task, x.metric, gap, low, high, winner, words))
    return Comparison(a, b, tuple(gaps))
