"""The figures of the report, drawn as SVG in colours that colour-blind readers can tell apart."""

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._findings import Diagnostic, Finding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ._result import Result

# Okabe and Ito's colours.
SUBJECT, CONTROL, CHANCE = "#D55E00", "#0072B2", "#777777"
CATEGORIES = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)
MARKERS = "os^vDP*X"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "zoo",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def svg(figure: "Figure") -> str:
    """Return a figure as an SVG element."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE), io.StringIO() as out:
        figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
        text = out.getvalue()
    return text[text.index("<svg") :]


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **more: Any) -> Any:
    """Start a figure in the style of the page: the figure, and its axes in a row."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with mpl.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=(width, height), layout=layout)
        return figure, figure.subplots(rows, columns, squeeze=False, **more).flatten()


def scores(result: "Result") -> "Figure":
    """One panel for each score: every contender with its interval, chance as a line."""
    names = list(result.rows[0].estimates)
    columns = 3
    lines = -(-len(result.rows) // columns)
    figure, axes = canvas(11, lines * (0.9 + 0.26 * len(names)), lines, columns, sharey=True)
    heights = np.arange(len(names))[::-1]
    for ax, row in zip(axes, result.rows, strict=False):
        ax.axvline(row.chance, color=CHANCE, linestyle="--", linewidth=1)
        for height, name in zip(heights, names, strict=True):
            own = name == result.encoder
            e = row.estimates[name]
            colour = SUBJECT if own else CONTROL
            ax.plot([e.low, e.high], [height, height], color=colour, linewidth=2)
            ax.plot(e.value, height, "D" if own else "o", color=colour, markersize=6)
        ax.set_title(f"{row.task} · {row.metric}", fontsize=10, loc="left")
        ax.set_yticks(heights, [result.label(n) for n in names])
        _finish(ax)
    _hide(axes[len(result.rows) :])
    return figure


def of_diagnostic(diagnostic: Diagnostic, subject: str) -> "Figure | None":
    """Draw a diagnostic that has a figure of its own."""
    if not diagnostic.findings:
        return None
    match diagnostic.name:
        case "factors":
            return _factors(diagnostic, subject)
        case "invariance":
            return _drift(diagnostic, subject)
        case "pathological" | "channels":
            return _taken_away(diagnostic, subject)
        case "learning":
            return _curves(diagnostic, subject)
        case "validation":
            return _detection(diagnostic)
        case _:
            return None


def _factors(diagnostic: Diagnostic, subject: str) -> "Figure":
    """Shares of planted factors that can be read, biology and nuisance apart."""
    found = diagnostic.findings
    contenders = _unique(f.contender for f in found)
    kinds = {
        k: _unique(f.quantity for f in found if f.condition == k) for k in ("biology", "nuisance")
    }
    kinds = {k: q for k, q in kinds.items() if q}
    widths = [len(q) for q in kinds.values()]
    figure, axes = canvas(
        11, 1.3 + 0.32 * len(contenders), 1, len(kinds), sharey=True, width_ratios=widths
    )
    by = {(f.contender, f.quantity): f.value for f in found}
    for ax, (kind, factors) in zip(axes, kinds.items(), strict=True):
        values = np.array([[by.get((c, q), np.nan) for q in factors] for c in contenders])
        _heat(ax, values, contenders, factors)
        ax.set_title(kind, fontsize=11, loc="left")
    _embolden(axes[0], contenders, subject)
    return figure


def _detection(diagnostic: Diagnostic) -> "Figure":
    """How often each metric finds the biology and the shortcut, by effect size."""
    found = diagnostic.findings
    metrics = _unique(f.quantity for f in found)
    sides = _unique(f.contender for f in found)
    effects = _unique(f.condition for f in found)
    figure, axes = canvas(9, 1.2 + 0.27 * len(metrics), 1, len(sides), sharey=True)
    by = {(f.contender, f.quantity, f.condition): f.value for f in found}
    for ax, side in zip(axes, sides, strict=True):
        values = np.array([[by.get((side, m, e), np.nan) for e in effects] for m in metrics])
        _heat(ax, values, metrics, effects)
        ax.set_title(f"encoder of the {side}: detected in", fontsize=10, loc="left")
    return figure


def _drift(diagnostic: Diagnostic, subject: str) -> "Figure":
    found = diagnostic.findings
    conditions = _unique(f.condition for f in found)
    contenders = _unique(f.contender for f in found)
    figure, (ax,) = canvas(9, 1.0 + 0.27 * len(conditions))
    ax.axvline(1, color=CHANCE, linestyle="--", linewidth=1)
    heights = {c: h for h, c in enumerate(reversed(conditions))}
    for place, name in enumerate(contenders):
        mine = [f for f in found if f.contender == name]
        at = np.array([heights[f.condition] for f in mine]) - 0.16 * (
            place - (len(contenders) - 1) / 2
        )
        style = _style_of(name, place, subject)
        ax.hlines(
            at, [f.low for f in mine], [f.high for f in mine], color=style["color"], alpha=0.6
        )
        ax.plot([f.value for f in mine], at, linestyle="", label=name, markersize=6, **style)
    ax.set_yticks(list(heights.values()), list(heights))
    ax.set_xscale("symlog", linthresh=0.01)
    ax.set_xlim(left=0)
    ax.set_xlabel("drift (1: as far as to another image)")
    ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _finish(ax, bins=None)
    return figure


def _taken_away(diagnostic: Diagnostic, subject: str) -> "Figure":
    """Scores as they are (open) and of spoilt images (filled), joined by a line."""
    found = [f for f in diagnostic.findings if f.contender == subject]
    quantities = _unique(f.quantity for f in found)
    conditions = _unique(f.condition for f in found)
    columns = min(3, len(quantities))
    lines = -(-len(quantities) // columns)
    figure, axes = canvas(11, lines * (1.0 + 0.25 * len(conditions)), lines, columns, sharey=True)
    heights = {c: h for h, c in enumerate(reversed(conditions))}
    axes[0].set_ylim(-0.6, len(conditions) - 0.4)
    for ax, quantity in zip(axes, quantities, strict=False):
        for f in found:
            if f.quantity == quantity:
                at = heights[f.condition]
                ax.plot([f.reference, f.value], [at, at], color="#bbbbbb", linewidth=2, zorder=1)
                ax.plot(f.reference, at, "o", mfc="white", mec=SUBJECT, zorder=2)
                ax.plot(f.value, at, "D", color=SUBJECT, zorder=3)
        ax.set_title(quantity, fontsize=10, loc="left")
        ax.set_yticks(list(heights.values()), list(heights))
        _finish(ax)
    _hide(axes[len(quantities) :])
    return figure


def _curves(diagnostic: Diagnostic, subject: str) -> "Figure":
    found = diagnostic.findings
    quantities = _unique(f.quantity for f in found)
    contenders = _unique(f.contender for f in found)
    columns = min(2, len(quantities))
    lines = -(-len(quantities) // columns)
    figure, axes = canvas(11, 3.2 * lines, lines, columns)
    for ax, quantity in zip(axes, quantities, strict=False):
        for place, name in enumerate(contenders):
            mine = [f for f in found if (f.contender, f.quantity) == (name, quantity)]
            sizes = [int(m[0]) if (m := re.match(r"\d+", f.condition)) else 0 for f in mine]
            own = name == subject
            style = _style_of(name, place, subject)
            if own:
                low, high = [f.low for f in mine], [f.high for f in mine]
                ax.fill_between(sizes, low, high, color=SUBJECT, alpha=0.15, linewidth=0)
            ax.plot(
                sizes, [f.value for f in mine], linewidth=2.5 if own else 1, label=name, **style
            )
        ax.set_title(quantity, fontsize=10, loc="left")
        unit = re.sub(r"^\d+ ", "", found[-1].condition)
        ax.set_xlabel(f"{unit} to learn from")
        _finish(ax)
    axes[min(columns, len(quantities)) - 1].legend(
        fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)
    )
    _hide(axes[len(quantities) :])
    return figure


def map_of(points: NDArray[np.float64], axes: list[str], colouring: dict[str, Any]) -> "Figure":
    """Draw one colouring of the map, for print and for browsers without scripts."""
    figure, (ax,) = canvas(5.2, 4.2)
    x, y = points.T
    if colouring["kind"] == "number":
        values = [np.nan if v is None else v for v in colouring["values"]]
        figure.colorbar(ax.scatter(x, y, c=values, cmap="viridis", s=26), ax=ax)
    else:
        codes = np.array(colouring["values"])
        for i, name in enumerate(colouring["names"]):
            colour = CATEGORIES[i % len(CATEGORIES)]
            marker = MARKERS[(i // len(CATEGORIES)) % len(MARKERS)]
            here = codes == i
            ax.scatter(x[here], y[here], color=colour, marker=marker, s=26, label=name)
        ax.legend(fontsize=8, ncols=1 + len(colouring["names"]) // 12, frameon=False)
    ax.set_xlabel(axes[0])
    ax.set_ylabel(axes[1])
    ax.set_title(f"coloured by {colouring['name']}", fontsize=10, loc="left")
    return figure  # type: ignore[no-any-return]


def _heat(ax: "Axes", values: NDArray[np.float64], rows: list[str], columns: list[str]) -> None:
    """Shade numbers from 0 to 1 and write them."""
    ax.imshow(np.clip(values, 0, 1), cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value > 0.75 else "#1c1f23"
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def _embolden(ax: "Axes", names: list[str], subject: str) -> None:
    for name, label in zip(names, ax.get_yticklabels(), strict=True):
        if name == subject:
            label.set_color(SUBJECT)
            label.set_fontweight("bold")


def _style_of(name: str, place: int, subject: str) -> dict[str, Any]:
    if name == subject:
        return {"color": SUBJECT, "marker": "D"}
    others = [c for c in CATEGORIES if c not in (SUBJECT, "#F0E442")]
    return {"color": others[place % len(others)], "marker": MARKERS[place % len(MARKERS)]}


def _finish(ax: "Axes", bins: int | None = 5) -> None:
    if bins:
        ax.locator_params(axis="x", nbins=bins)
    ax.grid(axis="x", color="#e5e5e5")
    ax.set_axisbelow(True)


def _hide(axes: Iterable["Axes"]) -> None:
    for ax in axes:
        ax.set_visible(False)


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def tables(diagnostic: Diagnostic, subject: str) -> list[dict[str, Any]]:
    """Arrange findings as small tables: contenders down, quantities or conditions across.

    Returns
    -------
    list of dict
        ``title``, ``columns`` and ``rows``: name, whether it is the encoder under test, and a cell
        or None for each column.
    """
    found = diagnostic.findings
    contenders = _unique(f.contender for f in found)
    quantities, conditions = (
        _unique(getattr(f, k) for f in found) for k in ("quantity", "condition")
    )
    if len(conditions) == 1:
        groups = {"": (quantities, {(f.contender, f.quantity): f for f in found})}
        groups = {conditions[0]: next(iter(groups.values()))}
    else:
        groups = {
            q: (
                _unique(f.condition for f in found if f.quantity == q),
                {(f.contender, f.condition): f for f in found if f.quantity == q},
            )
            for q in quantities
        }
    made = []
    for title, (columns, by) in groups.items():
        rows = [
            {
                "name": name or "all",
                "own": name == subject,
                "cells": [_cell(by.get((name, column))) for column in columns],
            }
            for name in contenders
            if any((name, column) in by for column in columns)
        ]
        made.append({"title": title, "columns": columns, "rows": rows})
    return made


def _cell(finding: Finding | None) -> dict[str, str] | None:
    if finding is None:
        return None
    small = []
    if np.isfinite(finding.low) and np.isfinite(finding.high):
        small.append(f"{number(finding.low)} to {number(finding.high)}")
    if np.isfinite(finding.reference) and finding.beside:
        small.append(f"{finding.beside} {number(finding.reference)}")
    return {"value": number(finding.value), "small": "; ".join(small), "note": finding.note}


def number(value: float) -> str:
    """Two decimals, none for large numbers; a dash for no number."""
    if not np.isfinite(value):
        return "–"
    if abs(value) < 0.005:
        return "0.00"
    return (f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}").replace("-", "−")
