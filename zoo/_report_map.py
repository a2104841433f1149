"""The map of the report: two-dimensional views, colourings, and a thumbnail for every point."""

import base64
import io
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import Preprocessing

from ._metrics import standardise
from ._preprocess import scale

if TYPE_CHECKING:
    from ._result import Result

POINTS = 2000
THUMBNAILS = 400
SIDE = 88  # pixels of a thumbnail
CATEGORIES = 64  # more values than these are no colouring
UMAP_SEED = 0


def map_data(result: "Result", *, umap: bool) -> tuple[str, tuple[str, ...]]:
    """Return what the script of the page draws, as JSON, and what to say of it.

    `umap` asks for a UMAP beside the principal components; it takes some seconds.
    """
    said: list[str] = []
    shown = spread_out(len(result.embeddings), POINTS)
    if len(shown) < len(result.embeddings):
        said.append(f"{len(shown)} of {len(result.embeddings)} items are drawn, evenly chosen.")
    matrix = result.embeddings.matrix[shown]
    table = result.embeddings.metadata.iloc[shown].reset_index(drop=True)
    points, share = principal_components(matrix)
    views = [
        {
            "name": "PCA",
            "x": _short(points[:, 0]),
            "y": _short(points[:, 1]),
            "axes": [f"PC 1 ({share[0]:.0%})", f"PC 2 ({share[1]:.0%})"],
        }
    ]
    if umap and len(matrix) >= 10:
        if find_spec("umap") is None:
            said.append('UMAP is left out: pip install "microscopy-zoo[umap]" adds it.')
        else:
            around = umap_points(matrix)
            views.append(
                {
                    "name": "UMAP",
                    "x": _short(around[:, 0]),
                    "y": _short(around[:, 1]),
                    "axes": ["UMAP 1", "UMAP 2"],
                }
            )
    data = {
        "views": views,
        "colourings": colourings(result, table),
        "captions": captions(table),
        "thumbnails": thumbnails(result, shown),
    }
    # A closing tag within the data would end the script element.
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"), tuple(said)


def spread_out(count: int, most: int) -> NDArray[np.intp]:
    """Choose up to `most` of `count` places, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def principal_components(matrix: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First two principal components of the standardised rows, and their shares of the variance."""
    rows = standardise(matrix.astype(np.float64), matrix.astype(np.float64))[0]
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    points = np.pad(left[:, :2] * singular[:2], ((0, 0), (0, max(0, 2 - left.shape[1]))))
    share = singular**2 / max(float((singular**2).sum()), 1e-300)
    return points, np.pad(share, (0, 2))[:2]


def umap_points(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """UMAP of the standardised rows with 15 neighbours (McInnes, Healy and Melville, 2018)."""
    import warnings

    rows = standardise(matrix.astype(np.float64), matrix.astype(np.float64))[0]
    with warnings.catch_warnings():
        # It warns of TensorFlow, which nothing needs, and that a fixed seed means one thread.
        warnings.simplefilter("ignore")
        from umap import UMAP

        model = UMAP(n_neighbors=min(15, len(rows) - 1), random_state=UMAP_SEED)
        return np.asarray(model.fit_transform(rows), dtype=np.float64)


def colourings(result: "Result", table: pd.DataFrame) -> list[dict[str, Any]]:
    """Columns that points can be coloured by: biology first, then nuisances, then the others."""
    spec = result.dataset.spec
    first = [c for c in (spec.label, spec.batch, spec.group) if c] if spec else []
    if spec:
        first += [*spec.confounders, *spec.domains, *spec.factors]
    role = {c: "nuisance" for c in (spec.batch, spec.group, *spec.confounders) if c} if spec else {}
    if spec:
        role[spec.label] = "biology"
    found = []
    for column in dict.fromkeys([*first, *map(str, table.columns)]):
        values = table[column]
        known = values.dropna()
        if known.nunique() < 2:
            continue
        entry: dict[str, Any] = {"name": column, "role": role.get(column, "")}
        if pd.api.types.is_numeric_dtype(known) and known.nunique() > 2:
            numbers = pd.to_numeric(values).to_numpy(dtype=float)
            found.append({**entry, "kind": "number", "values": _short(numbers)})
        elif known.nunique() <= CATEGORIES:
            names = sorted(known.astype(str).unique())
            codes = pd.Categorical(values.astype(str).where(values.notna()), categories=names).codes
            found.append(
                {**entry, "kind": "category", "names": names, "values": codes.astype(int).tolist()}
            )
    return found


def captions(table: pd.DataFrame) -> list[str]:
    """One text for each point: its metadata, a line for each column."""
    columns = [str(c) for c in table.columns][:12]
    return [
        "\n".join(f"{c}: {v:.3g}" if isinstance(v, float) else f"{c}: {v}" for c, v in row)
        for row in (zip(columns, values, strict=False) for values in table.to_numpy())
    ]


def thumbnails(result: "Result", shown: NDArray[np.intp]) -> list[str | None]:
    """Data URL of a small picture for each point, None beyond `THUMBNAILS` or without images."""
    pictures: list[str | None] = [None] * len(shown)
    dataset = result.dataset
    if dataset.read is None or len(dataset) != len(result.embeddings):
        return pictures
    for place in spread_out(len(shown), THUMBNAILS):
        pictures[place] = picture(dataset[int(shown[place])].pixels, SIDE, "jpeg")
    return pictures


def picture(pixels: NDArray[Any], side: int, kind: str = "png") -> str:
    """Draw up to three channels as green, magenta and yellow light, as a data URL."""
    from PIL import Image as Picture

    planes = scale(pixels[:3], Preprocessing(scaling="percentile"), "thumbnail")
    tints = np.array([[0.2, 1, 0.2], [0.9, 0.2, 0.9], [0.9, 0.7, 0]])[: len(planes)]
    colour = np.clip(np.einsum("chw,cr->hwr", planes, tints), 0, 1)
    drawn = Picture.fromarray((255 * colour).astype(np.uint8))
    drawn.thumbnail((side, side))
    with io.BytesIO() as out:
        drawn.save(out, kind, **({"quality": 80} if kind == "jpeg" else {"optimize": True}))
        return f"data:image/{kind};base64," + base64.b64encode(out.getvalue()).decode()


def _short(values: NDArray[np.float64]) -> list[float | None]:
    """Round to five digits; what is no number is None."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in values]
