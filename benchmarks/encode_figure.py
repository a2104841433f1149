"""Draw the speed of the encoder from rows that are kept: ``encode_figure.py ROWS.csv PICTURE``.

Bars are times as fast as the padded original with its fast path off, in the same run, for the
largest batch of each mix. Only committed rows are drawn.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import kept_rows
from bar_figure import draw_bars
from encode_providers import OURS, PADDED
from encode_table import largest
from kept_rows import Row

# Colours that the colour-blind can tell apart (Okabe and Ito); hatches for print.
LOOKS = {
    OURS: ("#D55E00", ""),
    "bucketed SDPA, compiled": ("#0072B2", "//"),
    "bucketed SDPA": ("#56B4E9", ""),
    "padded, fast path on": ("#999999", "\\\\"),
}


def bars(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return times as fast as `PADDED` by workload and provider, where it was timed."""
    heights = {}
    for workload, by_provider in largest(rows).items():
        if PADDED in by_provider:
            seconds = {p: float(str(row["median_s"])) for p, row in by_provider.items()}
            images = by_provider[OURS]["images"]
            heights[f"{workload}\n× {images}".replace(", training", ",\ntraining")] = {
                p: seconds[PADDED] / s for p, s in seconds.items() if p in LOOKS
            }
    return heights


def draw(rows: Sequence[Row], picture: Path) -> None:
    """Draw rows of one machine as a PNG or SVG."""
    first = rows[0]
    draw_bars(
        bars(rows),
        LOOKS,
        picture,
        title=f"ChAda-ViT, planes to embeddings, {first['device']}, torch {first['torch']}",
        label=f"times as fast as\n{PADDED}",
        ratios=True,
    )


def main() -> None:
    """Draw the rows of a file, if they are committed."""
    source, picture = map(Path, sys.argv[1:])
    draw(kept_rows.read_committed(source), picture)


if __name__ == "__main__":
    main()
