"""Draw the speed of attention from rows that are kept: ``attention_figure.py ROWS.csv PICTURE``.

On a GPU the bars are scores a second, in per cent of what exact exponentials allow; on a processor
they are times as fast as padding to ten channels. Only committed rows are drawn.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import kept_rows
from attention_providers import BUCKETED, PADDED, TRITON
from bar_figure import draw_bars
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
    heights, of_limit = bars(rows)
    first = rows[0]
    ratios = not of_limit
    draw_bars(
        {
            name: {p: v for p, v in found.items() if of_limit or p != PADDED}  # the unit
            for name, found in heights.items()
        },
        LOOKS,
        picture,
        title=f"Attention forward, 12 heads of 16, {first['device']}, torch {first['torch']}",
        label=f"times as fast as\n{PADDED}"
        if ratios
        else "scores a second,\n% of exact exponentials' limit",
        ratios=ratios,
    )


def main() -> None:
    """Draw the rows of a file, if they are committed."""
    source, picture = map(Path, sys.argv[1:])
    draw(kept_rows.read_committed(source), picture)


if __name__ == "__main__":
    main()
