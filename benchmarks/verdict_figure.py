"""The simulation of verdicts as a table and as a picture, from its committed rows."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

Row = Mapping[str, str]
PLAIN = {"items": "12", "sizes": "equal", "correlation": "0", "equal": "1", "weaker": "1"}
COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#a6761d", "#666666")
SHADES = ("#9ecae1", "#4292c6", "#2171b5", "#08306b")  # fewer to more groups


def scores(rows: Sequence[Row]) -> list[str]:
    """Names of the scores, in the order of the rows."""
    return list(dict.fromkeys(row["metric"] for row in rows))


def plain(rows: Sequence[Row], metric: str) -> list[Row]:
    """Rows of one score in the plain world, by number of groups, with equal encoders."""
    world = PLAIN | {"metric": metric, "gain": "0"}
    found = [row for row in rows if world.items() <= row.items()]
    return sorted(found, key=lambda row: int(row["groups"]))


def table(rows: Sequence[Row]) -> str:
    """One line for each score; its numbers are for more and more groups."""
    groups = sorted({int(row["groups"]) for m in scores(rows) for row in plain(rows, m)})
    counts = " / ".join(map(str, groups))
    lines = [
        f"| score, at {counts} groups | told apart (≤ 5 %) | beats all controls (≤ 2.5 %) "
        "| width of the interval | no better | undecided |",
        "|---|---|---|---|---|---|",
    ]
    for metric in scores(rows):
        found = plain(rows, metric)
        cells = [" / ".join(f"{100 * float(r['apart']):.0f}" for r in found) + " %"]
        cells += [" / ".join(f"{100 * float(r['beats']):.0f}" for r in found) + " %"]
        cells += [" / ".join(f"{float(r['width']):.2f}" for r in found)]
        for name in ("no_better", "undecided"):
            cells += [" / ".join(f"{100 * float(r[name]):.0f}" for r in found) + " %"]
        lines.append(f"| {metric} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """Say what all worlds of equal encoders together give, and how it was measured."""
    equal = [row for row in rows if row["gain"] == "0"]
    runs = sum(int(row["runs"]) for row in equal)

    def share(name: str) -> str:
        return f"{sum(float(r[name]) * int(r['runs']) for r in equal) / runs:.1%}"

    worst = max(equal, key=lambda row: float(row["apart"]))
    return (
        f"In all {len(equal)} rows together ({runs:,} simulated evaluations, among them unequal "
        "groups, 2 to 30 items in a group, correlated encoders and up to ten controls) equal "
        f"encoders were told apart in {share('apart')}, and one was said to beat all controls in "
        f"{share('beats')} and to be worse in {share('worse')}. The worst row has "
        f"{float(worst['apart']):.0%} of {worst['runs']}: {worst['metric']}, {worst['groups']} "
        f"groups of {worst['items']} items. In {worst['runs']} runs a rate of 5 % has a "
        f"standard error of {100 * (0.05 * 0.95 / int(worst['runs'])) ** 0.5:.1f} points."
    )


def planted(rows: Sequence[Row], metric: str) -> dict[int, list[Row]]:
    """Rows of one score with a better encoder, by number of groups, smallest difference first."""
    better = [row for row in rows if row["metric"] == metric and row["gain"] != "0"]
    found: dict[int, list[Row]] = {}
    for row in sorted(better, key=lambda row: (int(row["groups"]), float(row["gap"]))):
        found.setdefault(int(row["groups"]), []).append(row)
    return found


def draw_planted(rows: Sequence[Row], picture: Path) -> None:
    """Draw how often a true difference is found, and how often it stays undecided."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    metrics = [metric for metric in scores(rows) if planted(rows, metric)]
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "zoo"}):
        figure = Figure(figsize=(8.2, 2.3 * ceil(len(metrics) / 3)), dpi=150, layout="constrained")
        grid = figure.subplots(ceil(len(metrics) / 3), 3, sharey=True, squeeze=False)
        for axes, metric in zip(grid.flat, metrics, strict=False):
            for (groups, found), colour in zip(planted(rows, metric).items(), SHADES, strict=False):
                at = [float(row["gap"]) for row in found]
                for name, style in (("beats", "o-"), ("undecided", "o:")):
                    rates = [100 * float(row[name]) for row in found]
                    label = f"{groups} groups" if name == "beats" else None
                    axes.plot(at, rates, style, color=colour, ms=3, lw=1, label=label)
            axes.set_title(metric, fontsize=9)
            axes.set_xlim(0, None)
            axes.spines[["top", "right"]].set_visible(False)
        for axes in list(grid.flat)[len(metrics) :]:
            axes.axis("off")
        figure.supxlabel("true difference to the best control", fontsize=9)
        figure.supylabel("beats all controls (lines), undecided (dots), %", fontsize=9)
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
        figure.savefig(picture, metadata={"Software": None})


def draw(rows: Sequence[Row], picture: Path) -> None:
    """Draw how often equal encoders are told apart, with two binomial standard errors."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "zoo"}):
        figure = Figure(figsize=(8.2, 3.7), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2)
        for k, (metric, colour) in enumerate(zip(scores(rows), COLOURS, strict=False)):
            found = plain(rows, metric)
            at = range(len(found))
            rates = [100 * float(row["apart"]) for row in found]
            errors = [
                200 * (float(r["apart"]) * (1 - float(r["apart"])) / int(r["runs"])) ** 0.5
                for r in found
            ]
            shift = 0.08 * (k - 2.5)
            left.errorbar([x + shift for x in at], rates, errors, color=colour, fmt="o", ms=3, lw=1)
            widths = [float(row["width"]) for row in found]
            right.plot(at, widths, "o-", color=colour, ms=3, lw=1, label=metric)
            for axes in (left, right):
                axes.set_xticks(list(at), [row["groups"] for row in found])
        left.axhline(5, color="black", lw=0.7, ls="--")
        left.set_ylim(0, None)
        left.set_ylabel("equal encoders told apart (%)")
        right.axhspan(0.95, 1.3, color="0.92", zorder=0)
        right.set_ylim(0.8, None)
        right.set_ylabel("width / (3.92 × true sd)")
        for axes in (left, right):
            axes.set_xlabel("independent groups")
            axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        figure.savefig(picture, metadata={"Software": None})
