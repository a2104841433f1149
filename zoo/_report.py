"""The report: one HTML page with figures, data and script inside, readable without a network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.registry import MissingExtraError

from ._report_figures import map_of, number, of_diagnostic, scores, svg, tables
from ._report_map import map_data, picture

if TYPE_CHECKING:
    from ._findings import Diagnostic
    from ._result import Result

# What comes before the map, because it says most, and after it.
FIRST = ("factors", "truth", "invariance", "pathological", "channels")
LAST = ("validation",)
_PICTURE = 150


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
    here = Path(__file__).parent
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(here), autoescape=True)
    environment.filters["number"] = number
    drawn, said = map_data(result, umap=bool(result.diagnostics))
    points = json.loads(drawn)
    by_name = {d.name: _section(d, result.encoder) for d in result.diagnostics}
    middle = [n for n in by_name if n not in FIRST + LAST]
    page = environment.get_template("report.html.j2").render(
        result=result,
        spec=result.dataset.spec,
        figure=svg(scores(result)),
        first=[by_name[n] for n in FIRST if n in by_name],
        middle=[by_name[n] for n in middle],
        last=[by_name[n] for n in LAST if n in by_name],
        map_data=drawn,
        map_said=said,
        maps=[svg(f) for f in _still_maps(points)],
        script=(here / "report.js").read_text(encoding="utf-8"),
        thumbnails=_by_label(result),
        provenance=json.dumps(
            {name: records for name, (_, records) in result.contenders.items()}, indent=1
        ),
        version=result.embeddings.provenance.get("zoo", ""),
        outcome_class={"beats all controls": "good", "matched by": "even"},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _section(diagnostic: "Diagnostic", subject: str) -> dict[str, Any]:
    figure = of_diagnostic(diagnostic, subject)
    return {
        "diagnostic": diagnostic,
        "figure": svg(figure) if figure is not None else None,
        "tables": tables(diagnostic, subject),
    }


def _still_maps(points: dict[str, Any]) -> list[Any]:
    """Draw the first two colourings of the principal components, for print."""
    view = points["views"][0]
    places = np.array([view["x"], view["y"]], dtype=float).T
    return [map_of(places, view["axes"], c) for c in points["colourings"][:2]]


def _by_label(result: "Result") -> list[tuple[str, str]]:
    """One image for each value of the label, as (caption, data URL), in the label's order."""
    spec = result.dataset.spec
    if spec is None or result.dataset.read is None:
        return []
    labels = result.dataset.metadata[spec.label]
    values = sorted(labels.dropna().unique(), key=lambda v: (str(type(v)), v))
    if len(values) > 12:
        values = [values[i] for i in np.linspace(0, len(values) - 1, 12).astype(int)]
    shown = []
    for value in values:
        index = int(np.flatnonzero((labels == value).to_numpy())[0])
        pixels = result.dataset[index].pixels
        shown.append((f"{spec.label} {value}", picture(pixels, _PICTURE)))
    return shown
