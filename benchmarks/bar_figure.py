"""Bars by workload and provider, as both speed figures have them."""

from collections.abc import Mapping
from pathlib import Path

Heights = Mapping[str, Mapping[str, float]]
Looks = Mapping[str, tuple[str, str]]


def draw_bars(
    heights: Heights, looks: Looks, picture: Path, *, title: str, label: str, ratios: bool
) -> None:
    """Draw a group of bars for each workload as a PNG or SVG.

    Parameters
    ----------
    heights
        By workload, then by provider.
    looks
        Colour and hatch of each provider, in the order in which they are drawn.
    label
        What a height is.
    ratios
        Whether heights are ratios to a rival: then the axis is logarithmic and bars stand on 1.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    foot = 1 if ratios else 0
    shown = [p for p in looks if any(p in found for found in heights.values())]
    width = 0.84 / len(shown)
    with mpl.rc_context({"font.size": 9, "hatch.linewidth": 0.5, "svg.hashsalt": "zoo"}):
        figure = Figure(figsize=(8.2, 3.5), dpi=150, layout="constrained")
        axes = figure.subplots()
        for provider in shown:
            colour, hatch = looks[provider]
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
        if ratios:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.axhline(1, color="black", linewidth=0.6)
        axes.set_ylabel(label)
        axes.set_title(title, fontsize=9, loc="left")
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)
