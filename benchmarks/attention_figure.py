"""Draw the speed of attention from rows that are kept: ``attention_figure.py ROWS.csv PICTURE``.

On a GPU the bars are scores a second, in per cent of what exact exponentials allow; on a processor
they are times as fast as padding to ten channels. Only committed rows are drawn.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import kept_rows
from attention_providers import BUCKETED, PADDED, TRITON
from kept_rows import Row

# Colours that the colour-blind can tell apart (Okabe and Ito); hatches for print.
LOOKS = {
    TRITON: ("#D55E00", ""),
    BUCKETED: ("#0072B2", "//"),
    "varlen_attn": ("#56B4E9", ""),
    "FlexAttention": ("#CC79A7", ".."),
    "padded to longest": ("#F0E442", "xx"),
    PADDED: ("#999999", "\\\\"),
}


def bars(rows: Sequence[Row]) -> tuple[dict[str, dict[str, float]], bool]:
    """Return a height by workload and provider, and whether heights are per cent of the limit.

    Drawn are heads of 16, forward, and of each workload the largest batch, in the arithmetic that
    most rows are in.
    """
    rows = [r for r in rows if r["pass"] == "forward" and str(r["head_size"]) == "16"]
    dtypes = [r["dtype"] for r in rows]
    usual = max(dtypes, key=dtypes.count)
    rows = [r for r in rows if r["dtype"] == usual]
    largest: dict[object, int] = {}
    for row in rows:
        workload = row["workload"]
        largest[workload] = max(largest.get(workload, 0), int(str(row["images"])))
    rows = [r for r in rows if int(str(r["images"])) == largest[r["workload"]]]
    of_limit = any(row["percent_ex2"] for row in rows)
    heights: dict[str, dict[str, float]] = {}
    for row in rows:
        value = row["percent_ex2"] if of_limit else row["scores_per_s"]
        if row["provider"] in LOOKS and value:
            found = heights.setdefault(f"{row['workload']}\n× {row['images']}", {})
            found[str(row["provider"])] = float(str(value))
    if not of_limit:
        heights = {
            name: {provider: value / found[PADDED] for provider, value in found.items()}
            for name, found in heights.items()
            if PADDED in found
        }
    return heights, of_limit


def draw(rows: Sequence[Row], picture: Path) -> None:
    """Draw rows of one machine as a PNG or SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    heights, of_limit = bars(rows)
    foot = 0 if of_limit else 1
    shown = [p for p in LOOKS if any(p in found for found in heights.values())]
    if not of_limit:
        shown.remove(PADDED)  # the unit, which every bar stands on
    width = 0.84 / len(shown)
    with mpl.rc_context({"font.size": 9, "hatch.linewidth": 0.5, "svg.hashsalt": "zoo"}):
        figure = Figure(figsize=(8.2, 3.5), dpi=150, layout="constrained")
        axes = figure.subplots()
        for provider in shown:
            colour, hatch = LOOKS[provider]
            places, values = [], []
            for x, found in enumerate(heights.values()):
                there = [p for p in shown if p in found]
                if provider in there:
                    places.append(x + (there.index(provider) - (len(there) - 1) / 2) * width)
                    values.append(found[provider])
            drawn = axes.bar(
                places,
                [value - foot for value in values],
                width,
                foot,
                label=provider,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.5,
            )
            labels = [f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in values]
            axes.bar_label(drawn, labels, fontsize=7, padding=1)
        axes.set_xticks(range(len(heights)), list(heights))
        axes.spines[["top", "right"]].set_visible(False)
        if of_limit:
            axes.set_ylabel("scores a second,\n% of exact exponentials' limit")
        else:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.axhline(1, color="black", linewidth=0.6)
            axes.set_ylabel(f"times as fast as\n{PADDED}")
        first = rows[0]
        axes.set_title(
            f"Attention forward, 12 heads of 16, {first['device']}, torch {first['torch']}",
            fontsize=9,
            loc="left",
        )
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)


def main() -> None:
    """Draw the rows of a file, if they are committed."""
    source, picture = map(Path, sys.argv[1:])
    if not kept_rows.is_committed(source):
        raise SystemExit(f"{source} differs from the last commit; commit the rows, then draw")
    draw(kept_rows.read(source), picture)


if __name__ == "__main__":
    main()
