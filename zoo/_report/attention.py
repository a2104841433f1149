"""The attention between channels of one image, as a figure and as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import MissingExtraError

from .._encoders.features import Attention

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

FIGURES = (".png", ".svg", ".pdf")
TABLES = (".csv",)
COLOURS = "PuOr_r"  # diverges around even attention; told apart by colour-blind readers too


def attention_table(attention: Attention, names: Sequence[str]) -> pd.DataFrame:
    """List the channel matrix of every layer and head.

    Returns
    -------
    DataFrame
        Columns layer and head (from 1), query, key, attention.
    """
    values = attention.channels.float().cpu().numpy()
    layers, heads, size, _ = values.shape
    labels = ["CLS", *names]
    grid = pd.MultiIndex.from_product(
        [range(1, layers + 1), range(1, heads + 1), range(size), range(size)],
        names=["layer", "head", "query", "key"],
    )
    table = grid.to_frame(index=False)
    table["attention"] = values.ravel()
    for column in ("query", "key"):
        table[column] = [labels[i] for i in table[column]]
    return table


def draw_attention(
    attention: Attention, planes: Tensor, names: Sequence[str], title: str, path: Path
) -> None:
    """Draw the channel matrix, and under each channel what CLS looks at in it.

    Parameters
    ----------
    attention
        Layers and heads are averaged: choose them beforehand.
    planes
        The channels as the encoder saw them, `(C, H, W)`.
    names
        Of the channels.
    title
        Heading.
    path
        .png, .svg or .pdf.
    """
    try:
        import matplotlib as mpl
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            'the figure needs matplotlib: pip install "microscopy-zoo[report]"'
        ) from error
    mpl.use("agg")
    matrix = attention.channels.float().mean((0, 1)).cpu().numpy()
    maps = attention.cls.float().mean((0, 1)).cpu().numpy()  # (C, rows, columns)
    pictures = planes.float().cpu().numpy()
    channels, patches = len(maps), maps[0].size
    tokens = 1 + channels * patches
    even = np.array([1, *[patches] * channels]) / tokens
    colour = Normalize(*_symmetric(matrix / even, maps * tokens))
    side, strip = max(3.6, 0.55 * channels + 2), max(1.6 * channels, 4.4)
    with mpl.rc_context({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "zoo"}):
        figure = Figure(figsize=(side + strip, max(side + 0.3, 4.6)), layout="constrained")
        parts: Any = figure.subfigures(1, 2, width_ratios=[side, strip])
        left, right = parts
        _draw_matrix(left.subplots(), matrix, even, colour, ["CLS", *names])
        axes = right.subplots(2, channels, squeeze=False)
        for i, name in enumerate(names):
            low, high = np.percentile(pictures[i], [0.5, 99.5])
            axes[0, i].imshow(pictures[i], cmap="gray", vmin=low, vmax=max(high, low + 1e-12))
            axes[0, i].set_title(name)
            drawn = axes[1, i].imshow(_log2(maps[i] * tokens), cmap=COLOURS, norm=colour)
            axes[1, i].set_title(f"from CLS: {100 * maps[i].sum():.1f} %", fontsize=8)
            for ax in axes[:, i]:
                ax.set_axis_off()
        bar = right.colorbar(drawn, ax=axes[1], location="bottom", shrink=0.8)
        bar.ax.xaxis.set_major_formatter(lambda value, _: f"{2**value:.2g} ×")
        bar.set_label("of the attention that an even spread over all patches would give")
        figure.suptitle(title)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
        figure.savefig(path, dpi=150, metadata=metadata)


def _log2(ratio: NDArray[Any]) -> NDArray[Any]:
    return np.log2(np.maximum(ratio, 2.0**-10))


def _symmetric(*ratios: NDArray[Any]) -> tuple[float, float]:
    """Return limits around log2(1) that hold all ratios, and are not noise blown up."""
    widest = max(float(np.abs(_log2(r)).max()) for r in ratios)
    return -max(widest, 0.25), max(widest, 0.25)


def _draw_matrix(
    ax: "Axes",
    matrix: NDArray[Any],
    even: NDArray[Any],
    colour: "Normalize",
    labels: Sequence[str],
) -> None:
    shades = _log2(matrix / even)
    ax.imshow(shades, cmap=COLOURS, norm=colour)
    for (i, j), value in np.ndenumerate(matrix):
        dark = abs(shades[i, j]) > 0.6 * (colour.vmax or 1)
        ax.text(
            j, i, f"{100 * value:.1f}", ha="center", va="center",
            color="white" if dark else "black", fontsize=8,
        )  # fmt: skip
    places = range(len(labels))
    ax.set_xticks(places, labels, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(places, labels)
    ax.set_xlabel("… to the tokens of")
    ax.set_ylabel("attention of the tokens of …")
    ax.set_title("between channels, % of each row")
