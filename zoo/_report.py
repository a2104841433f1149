"""The report: one HTML page with figures inside, readable without a network."""

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import MissingExtraError, Preprocessing

from ._preprocess import scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ._result import Result

# Okabe and Ito's colours, told apart by colour-blind readers too.
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
_THUMBNAIL = 150


def write_report(result: "Result", path: Path) -> None:
    """Write the page for a result; the folder is made if need be."""
    try:
        import jinja2
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtraError(
            'the report needs jinja2 and matplotlib: pip install "microscopy-zoo[report]"'
        ) from error
    mpl.use("agg")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True
    )
    spec = result.dataset.spec
    page = environment.get_template("report.html.j2").render(
        result=result,
        spec=spec,
        figure=_svg(_scores(result)),
        maps=[_svg(_map(result, column)) for column in _map_columns(result)],
        thumbnails=_thumbnails(result),
        provenance=json.dumps(
            {name: records for name, (_, records) in result.contenders.items()}, indent=1
        ),
        version=result.embeddings.provenance["zoo"],
        outcome_class={
            "beats all controls": "good",
            "matched by": "even",
        },
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _style() -> dict[str, Any]:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "zoo",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }


def _svg(figure: "Figure") -> str:
    import matplotlib as mpl

    with mpl.rc_context(_style()), io.StringIO() as out:
        figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
        text = out.getvalue()
    return text[text.index("<svg") :]


def _scores(result: "Result") -> "Figure":
    """One panel for each score: every contender with its interval, chance as a line."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = list(result.rows[0].estimates)
    columns = 3
    lines = -(-len(result.rows) // columns)
    with mpl.rc_context(_style()):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=(11, lines * (0.9 + 0.26 * len(names))), layout=layout)
        axes = figure.subplots(lines, columns, sharey=True, squeeze=False).flatten()
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
            ax.locator_params(axis="x", nbins=5)
            ax.grid(axis="x", color="#e5e5e5")
            ax.set_axisbelow(True)
        for ax in axes[len(result.rows) :]:
            ax.set_visible(False)
    return figure


def _map_columns(result: "Result") -> list[str]:
    spec = result.dataset.spec
    if spec is None:
        return []
    return list(dict.fromkeys(c for c in (spec.label, spec.batch or spec.group) if c))


def _map(result: "Result", column: str) -> "Figure":
    """First two principal components of the embedding, coloured by a metadata column."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    matrix = result.embeddings.matrix.astype(np.float64)
    spread = matrix.std(0)
    centred = (matrix - matrix.mean(0)) / np.where(spread > 0, spread, 1)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    points = left[:, :2] * singular[:2]
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    share = singular**2 / max(float((singular**2).sum()), 1e-300)
    share = np.pad(share, (0, 2))[:2]
    values = result.embeddings.metadata[column]
    with mpl.rc_context(_style()):
        figure = Figure(figsize=(5.2, 4.2), layout="constrained")
        ax = figure.subplots()
        numeric = values.dtype.kind in "iuf" and values.nunique() > 2
        if numeric:
            drawn = ax.scatter(points[:, 0], points[:, 1], c=values, cmap="viridis", s=26)
            figure.colorbar(drawn, ax=ax, label=column)
        else:
            for i, (value, members) in enumerate(values.groupby(values).groups.items()):
                colour = CATEGORIES[i % len(CATEGORIES)]
                marker = "os^vDP*X"[(i // len(CATEGORIES)) % 8]
                x, y = points[list(members)].T
                ax.scatter(x, y, color=colour, marker=marker, s=26, label=value)
            ax.legend(title=column, fontsize=8, ncols=1 + values.nunique() // 12, frameon=False)
        ax.set_xlabel(f"PC 1 ({share[0]:.0%})")
        ax.set_ylabel(f"PC 2 ({share[1]:.0%})")
        ax.set_title(f"coloured by {column}", fontsize=10, loc="left")
    return figure


def _thumbnails(result: "Result") -> list[tuple[str, str]]:
    """One image for each value of the label, as (caption, data URL), in the label's order."""
    spec = result.dataset.spec
    if spec is None:
        return []
    labels = result.dataset.metadata[spec.label]
    values = sorted(labels.dropna().unique(), key=lambda v: (str(type(v)), v))
    if len(values) > 12:
        values = [values[i] for i in np.linspace(0, len(values) - 1, 12).astype(int)]
    shown = []
    for value in values:
        index = int(np.flatnonzero((labels == value).to_numpy())[0])
        image = result.dataset[index]
        shown.append((f"{spec.label} {value}", _picture(image.pixels)))
    return shown


def _picture(pixels: NDArray[Any]) -> str:
    """Draw up to three channels as green, magenta and yellow light, as a PNG data URL."""
    from PIL import Image as Picture

    planes = scale(pixels[:3], Preprocessing(scaling="percentile"), "thumbnail")
    step = max(1, min(planes.shape[1:]) // _THUMBNAIL)
    planes = planes[:, ::step, ::step]
    tints = np.array([[0.2, 1, 0.2], [0.9, 0.2, 0.9], [0.9, 0.7, 0]])[: len(planes)]
    colour = np.clip(np.einsum("chw,cr->hwr", planes, tints), 0, 1)
    with io.BytesIO() as out:
        Picture.fromarray((255 * colour).astype(np.uint8)).save(out, "png", optimize=True)
        return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
