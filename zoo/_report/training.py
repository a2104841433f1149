"""The curves of a training run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.registry import MissingExtraError

PANELS = (
    ("loss", ("loss",)),
    ("entropy, in parts of ln K", ("teacher_entropy", "entropy_of_mean")),
    ("relative spread of the embedding", ("spread",)),
    ("learning rate", ("learning_rate",)),
)
NAMES = {
    "teacher_entropy": "of the teacher",
    "entropy_of_mean": "of its mean over images",
    "knn": "5-NN",
    "probe": "linear probe",
}


def draw_training(rows: Sequence[Mapping[str, Any]], path: Path, *, prototypes: int | None) -> None:
    """Draw loss, entropies, spread, learning rate, and scores on held-out groups where there are.

    Parameters
    ----------
    rows
        The log, one entry a step.
    path
        .png, .svg or .pdf.
    prototypes
        K, for the loss of a run that has collapsed; None for runs without prototypes.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            'the figure needs matplotlib: pip install "microscopy-zoo[report]"'
        ) from error
    mpl.use("agg")
    scores = [name for name in ("knn", "probe", "validation") if any(name in r for r in rows)]
    panels = [(title, [n for n in names if n in rows[0]]) for title, names in PANELS]
    panels = [panel for panel in panels if panel[1]]
    if scores:
        panels.append(("held-out groups", scores))
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(2.7 * len(panels), 2.6), layout="constrained")
        for ax, (title, names) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            for name in names:
                points = [(row["step"] + 1, row[name]) for row in rows if name in row]
                marker = "o" if name in scores else None
                ax.plot(
                    *zip(*points, strict=True), label=NAMES.get(name, name), marker=marker, ms=3
                )
            if title == "loss" and prototypes is not None:
                ax.axhline(math.log(prototypes), color="0.6", lw=0.8, ls="--")
                where = (rows[-1]["step"] + 1, math.log(prototypes))
                ax.annotate("ln K", where, color="0.4", fontsize=8, ha="right", va="bottom")
            if len(names) > 1:
                ax.legend(frameon=False, fontsize=8)
            ax.set_title(title, fontsize=9, loc="left")
            ax.set_xlabel("step")
        figure.savefig(path, dpi=150, format=path.suffixes[0].removeprefix("."))
