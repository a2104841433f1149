"""The explorer: one page with the map of a table of profiles, which needs no network."""

import html
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import DataError, suggest

from .._embedding.embeddings import Embeddings, atomic_write
from .._encoders.progress import Progress
from ..metrics import nearest_neighbours
from ..metrics._matrix import standardise
from .colours import PALETTE, UNKNOWN, VIRIDIS
from .explore_columns import colour_by, column, many_colours, packed
from .explore_pictures import Read, sheets
from .map import as_json, principal_components, umap_points

NEIGHBOURS = 12
_ASSETS = (("style", "explore.css"), ("script", "explore_data.js", "explore.js"))
# Of each axis of a map, so that it fits whatever its outliers.
_MARGIN = 0.02


def write_explorer(
    profiles: Embeddings,
    path: Path,
    read: Read | None,
    *,
    umap: bool,
    pictures: int,
    colour: str | None,
    progress: Progress,
) -> list[str]:
    """Write the page, and return notes for the user.

    Raises
    ------
    DataError
        If there are fewer than three items, or the column to colour by is none.
    """
    if len(profiles) < 3:
        raise DataError(f"a map needs three items or more, but there are {len(profiles)}")
    notes: list[str] = []
    table = profiles.metadata.reset_index(drop=True)
    if colour is not None and colour not in table.columns:
        names = [str(c) for c in table.columns]
        raise DataError(
            f"there is no column {colour} to colour by, only {', '.join(names)}."
            f"{suggest(colour, names)}"
        )
    columns = [column(str(name), table[name]) for name in table.columns]
    first = colour_by(columns, colour)
    if colour is not None and first < 0:
        notes.append(f"{colour} has too many values for colours")
    progress("computing principal components", 0, 1)
    views = _views(profiles.matrix, umap, notes, progress)
    progress("finding nearest neighbours", 0, 1)
    neighbours = _neighbours(profiles.matrix)
    drawn = (
        None if read is None or not pictures else sheets(read, len(profiles), pictures, progress)
    )
    if read is None and pictures:
        notes.append(
            "there are no pictures: the column image names no files that are here; name the images "
            "with images= (--images)"
        )
    elif drawn is None and pictures:
        notes.append("no image could be read, so there are no pictures")
    elif drawn is not None and drawn["drawn"] < len(profiles):
        notes.append(f"{drawn['drawn']} of {len(profiles)} items have a picture")
    data = {
        "count": len(profiles),
        "views": views,
        "columns": columns,
        "colour_by": first,
        "neighbours": neighbours,
        "pictures": drawn,
        "colours": many_colours(),
        "viridis": VIRIDIS,
        "plain": PALETTE[0],
        "unknown": UNKNOWN,
    }
    encoder = str(profiles.provenance.get("encoder", "an unnamed encoder"))
    items, size = profiles.shape
    values = {
        "title": html.escape(str(profiles.provenance.get("dataset") or path.stem)),
        "summary": html.escape(f"{items:,} items, {size} features by {encoder}"),
        "data": as_json(data),
    }
    here = Path(__file__).parent / "assets"
    for name, *files in _ASSETS:
        values[name] = "".join((here / file).read_text(encoding="utf-8") for file in files)
    parts = (here / "explore.html").read_text(encoding="utf-8").split("{{")
    page = parts[0] + "".join(_filled(part, values) for part in parts[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return notes


def _filled(part: str, values: dict[str, str]) -> str:
    name, _, rest = part.partition("}}")
    return values[name] + rest


def _views(
    matrix: NDArray[np.float32], umap: bool, notes: list[str], progress: Progress
) -> list[dict[str, Any]]:
    """Return the maps, the one to show first first."""
    points, share = principal_components(matrix)
    axes = f"PC 1 {share[0]:.0%}, PC 2 {share[1]:.0%} of the variance"
    views = [_view("principal components", points, axes)]
    if not umap:
        return views
    if find_spec("umap") is None:
        notes.append('there is no UMAP: pip install "microscopy-zoo[umap]" adds it')
    elif len(np.unique(matrix, axis=0)) < 10:
        notes.append("there is no UMAP: fewer than ten items differ")
    else:
        progress("computing the UMAP", 0, 1)
        views.insert(0, _view("UMAP", umap_points(matrix), "UMAP 1, UMAP 2"))
    return views


def _view(name: str, points: NDArray[np.float64], axes: str) -> dict[str, Any]:
    """Return a map scaled to -1/2 … 1/2, both axes alike."""
    low, high = points.min(0), points.max(0)
    room = max(float((high - low).max()), 1e-300) * (1 + _MARGIN)
    placed = (points - (low + high) / 2) / room
    x, y = (packed(placed[:, k], "f4") for k in (0, 1))
    return {"name": name, "x": x, "y": y, "axes": axes}


def _neighbours(matrix: NDArray[np.float32]) -> dict[str, Any]:
    wide = matrix.astype(np.float64)
    rows = standardise(wide, wide)[0]
    # Items without a direction, such as an average one, have no cosine.
    cosine = bool((np.abs(rows).max(axis=1) > 0).all())
    k = min(NEIGHBOURS, len(rows) - 1)
    found, _ = nearest_neighbours(rows, k, metric="cosine" if cosine else "euclidean")
    measure = "cosine" if cosine else "Euclidean distance"
    return {"k": k, "items": packed(found, "i4"), "how": f"by {measure} of standardised features"}
