"""The result of an evaluation, to be printed, opened in a browser or written to files."""

from html import escape
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from ._evaluation.scorecard import Scorecard
from ._evaluation.verdict import DIFFERENCE, detectable, difference


class Result(Scorecard):
    """What `zoo.evaluate` returns: a `Scorecard` that prints itself and writes its report.

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
    >>> result = zoo.evaluate("pixel-statistics", mine, design=design, controls=["constant"])
    >>> result
    <zoo.Result: pixel-statistics beats all controls in 1 of 1 scores.>
    >>> result.verdicts[0].summary
    'beats all controls (nearest: constant)'
    >>> result.table[["encoder", "metric", "score"]]
                 encoder   metric  score
    0  pixel-statistics  ROC AUC    1.0
    1          constant  ROC AUC    0.5
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result.to_csv(f"{folder}/scores.csv")
    """

    def write(self, folder: str | Path) -> tuple[Path, ...]:
        """Write the page and its numbers into a folder, and return the files.

        ``index.html``, ``scores.csv`` and, for the full suite, ``diagnostics.csv``; the tables
        also as Parquet if pyarrow is installed.

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
        """Return scores and verdicts as text of a width in characters."""
        from ._report.terminal import render

        return render(self, width=width, colour=colour)

    def __str__(self) -> str:
        return self.render()

    def __repr__(self) -> str:
        return f"<zoo.Result: {self.headline}>"

    def _repr_html_(self) -> str:
        lines = [
            {
                "score": f"{row.task}, {row.metric}",
                self.encoder: f"{row.estimates[self.encoder].value:.2f}",
                "chance": f"{row.chance:.2f}",
                "verdict": row.verdict.summary,
                DIFFERENCE: difference(row.verdict),
                "detectable": detectable(row.verdict),
                "n (groups)": f"{row.n_items} ({row.n_groups})",
            }
            for row in self.rows
        ]
        table = pd.DataFrame(lines).to_html(index=False)
        return f"<p><b>{escape(self.headline)}</b></p>{table}"
