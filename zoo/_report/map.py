"""The map of the report: two-dimensional views, colourings, and a picture for every point."""

import json
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import Design

from .._data.design import design_of
from .._evaluation.scorecard import Scorecard
from ..metrics._matrix import standardise
from .colours import PALETTE, SHAPES, UNKNOWN, VIRIDIS, look, shade
from .pictures import thumbnails
from .sampling import spread_out

POINTS = 2000

CATEGORIES = 48  # more values than these are no colouring; six shapes in eight colours tell so many

COLUMNS = 10  # of the metadata beside a picture

UMAP_SEED = 0


def map_data(result: Scorecard, *, umap: bool) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Return what the script of the page draws, as plain values, and what to say of it.

    `umap` asks for a UMAP beside the principal components; it takes some seconds. There is nothing
    to draw of fewer than three items.
    """
    said: list[str] = []
    total = len(result.embeddings)
    usable = np.flatnonzero(np.isfinite(result.embeddings.matrix).all(axis=1))
    if len(usable) < total:
        said.append(f"{total - len(usable)} of {total} items have no finite embedding.")
    if len(usable) < 3:
        return None, (*said, "There are too few items to draw a map of.")
    shown = usable[spread_out(len(usable), POINTS)]
    if len(shown) < len(usable):
        said.append(f"{len(shown)} of {total} items are drawn, evenly chosen.")
    matrix = result.embeddings.matrix[shown]
    table = result.embeddings.metadata.iloc[shown].reset_index(drop=True)
    points, share = principal_components(matrix)
    axes = [f"PC 1 ({share[0]:.0%} of the variance)", f"PC 2 ({share[1]:.0%})"]
    views = [view("PCA", points, axes)]
    if umap and len(matrix) >= 10:
        if find_spec("umap") is None:
            said.append('UMAP is left out: pip install "microscopy-zoo[umap]" adds it.')
        elif len(np.unique(matrix, axis=0)) < 10:
            said.append("UMAP is left out: fewer than ten items differ.")
        else:
            views.append(view("UMAP", umap_points(matrix), ["UMAP 1", "UMAP 2"]))
    pictures = thumbnails(result, shown)
    drawn = sum(p is not None for p in pictures)
    if 0 < drawn < len(shown):
        said.append(f"{drawn} points, spread over the labels, have a picture.")
    return {
        "views": views,
        "colourings": colourings(result, table),
        **captions(table, design_of(result.dataset)),
        "thumbnails": pictures,
        "plain": PALETTE[0],
        "viridis": VIRIDIS,
        "shapes": SHAPES,
        "unknown": UNKNOWN,
    }, tuple(said)


def as_json(data: Any) -> str:
    """Return JSON that can stand in a script element: a closing tag within would end it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def principal_components(matrix: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First two principal components of the standardised rows, and their shares of the variance."""
    rows = standardise(matrix.astype(np.float64), matrix.astype(np.float64))[0]
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    points = np.pad(left[:, :2] * singular[:2], ((0, 0), (0, max(0, 2 - left.shape[1]))))
    share = singular**2 / max(float((singular**2).sum()), 1e-300)
    return points, np.pad(share, (0, 2))[:2]


def umap_points(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """UMAP of the standardised rows with 15 neighbours (McInnes, Healy and Melville, 2018)."""
    rows = standardise(matrix.astype(np.float64), matrix.astype(np.float64))[0]
    with warnings.catch_warnings():
        # It warns of TensorFlow, which nothing needs, and that a fixed seed means one thread.
        warnings.simplefilter("ignore")
        from umap import UMAP

        model = UMAP(n_neighbors=min(15, len(rows) - 1), random_state=UMAP_SEED)
        return np.asarray(model.fit_transform(rows), dtype=np.float64)


def colourings(result: Scorecard, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Columns that points can be coloured by: biology first, then nuisances, then the others.

    Numbers are a scale, but those of labels and batches are names unless a task asks for a dose.
    """
    design = design_of(result.dataset)
    nuisances = [c for c in (design.batch, design.group) if c]
    first = [design.label, *nuisances, *design.confounders, *design.domains, *design.factors]
    role = dict.fromkeys((*nuisances, *design.confounders), "nuisance")
    role[design.label] = "biology"
    scales = {t.target for t in design.tasks if t.kind == "dose"}
    names = {design.label, *nuisances, *design.domains} - scales
    found = []
    columns = [c for c in dict.fromkeys([*first, *table.columns]) if c in table.columns]
    for column in columns:
        values = table[column]
        known = values.dropna()
        text = known.astype(str)
        several, few = text.nunique() > 1, text.nunique() <= CATEGORIES
        entry: dict[str, Any] = {"name": str(column), "role": role.get(column, "")}
        numeric = pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known)
        if numeric and not (column in names and few) and known.nunique() > 2:
            numbers = pd.to_numeric(values).to_numpy(dtype=float, na_value=np.nan)
            if len(np.unique(numbers[np.isfinite(numbers)])) > 1:
                found.append({**entry, "kind": "number", "values": short(numbers)})
        elif several and few:
            order = sorted(known.unique()) if numeric else sorted(text.unique())
            known_names = [str(v) for v in order]
            lookup = {name: code for code, name in enumerate(known_names)}
            codes = [-1 if pd.isna(v) else lookup[str(v)] for v in values]
            looks = [look(code) for code in range(len(known_names))]
            more = {"kind": "category", "names": known_names, "looks": looks, "values": codes}
            found.append({**entry, **more})
    return found


def captions(table: pd.DataFrame, design: Design) -> dict[str, Any]:
    """Metadata of each point as text: names of columns, and a row for each point."""
    asked = (design.label, design.perturbation, design.batch, design.group, design.position)
    first = [*table.columns[:1], *filter(None, asked)]
    columns = [c for c in dict.fromkeys([*first, *table.columns]) if c in table.columns][:COLUMNS]
    rows = [[_said(value) for value in row] for row in table[columns].to_numpy(dtype=object)]
    return {"columns": [str(c) for c in columns], "rows": rows}


def _said(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if np.isfinite(value) else "–"
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def still(data: dict[str, Any], colouring: dict[str, Any] | None) -> dict[str, Any]:
    """Lay out one colouring of the principal components for paper, 480 by 400 units."""
    view = data["views"][0]
    x, y = (fit(view[k], low, high) for k, low, high in (("x", 40, 470), ("y", 360, 10)))
    looks = [(0, PALETTE[0])] * len(x)
    legend: list[tuple[int, str, str]] = []
    ends: tuple[str, str] | None = None
    if colouring is not None and colouring["kind"] == "category":
        looks = [look(code) for code in colouring["values"]]
        legend = [
            (*look, name) for look, name in zip(colouring["looks"], colouring["names"], strict=True)
        ]
    elif colouring is not None:
        known = [v for v in colouring["values"] if v is not None]
        low, high = min(known), max(known)
        looks = [
            (0, UNKNOWN if v is None else shade((v - low) / (high - low)))
            for v in colouring["values"]
        ]
        ends = (f"{low:.4g}", f"{high:.4g}")
    return {
        "title": colouring["name"] if colouring else "all items",
        "axes": view["axes"],
        "marks": [(a, b, *look) for a, b, look in zip(x, y, looks, strict=True)],
        "legend": legend,
        "ends": ends,
    }


def short(values: NDArray[np.float64]) -> list[float | None]:
    """Round to five digits; what is no number is None."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in values]


def fit(values: list[float], low: float, high: float) -> list[float]:
    least, most = min(values), max(values)
    room = (most - least) or 1.0
    return [round(low + (0.03 + 0.94 * (v - least) / room) * (high - low), 1) for v in values]


def view(name: str, points: NDArray[np.float64], axes: list[str]) -> dict[str, Any]:
    return {"name": name, "x": short(points[:, 0]), "y": short(points[:, 1]), "axes": axes}
