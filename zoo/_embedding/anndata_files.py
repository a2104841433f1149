"""Embeddings to AnnData and back, in encodings that old and new versions and other tools read."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import DataError, MissingExtraError

from .embeddings import Embeddings
from .tables import duplicated, sha256

if TYPE_CHECKING:
    from anndata import AnnData


def to_anndata(embeddings: Embeddings) -> "AnnData":
    """Return the matrix as ``X``, the metadata as ``obs``, provenance as JSON in ``uns``.

    Text is categorical and all names are plain objects: files then hold the encodings from before
    pandas 3, whose own strings some versions of anndata cannot write, and other tools not read. A
    slash in a column's name becomes ``_``.

    Raises
    ------
    MissingExtraError
        Without anndata.
    """
    try:
        from anndata import AnnData
    except ImportError as error:
        raise MissingExtraError(
            'AnnData needs anndata: pip install "microscopy-zoo[anndata]"'
        ) from error
    frame = embeddings.to_frame()
    features = frame.columns[len(frame.columns) - embeddings.shape[1] :].tolist()
    table = frame.drop(columns=features)
    given = [str(c).removeprefix("Metadata_") for c in table.columns]
    # A slash would be a folder in the file.
    plain = [c if "/" not in c else _free(c.replace("/", "_"), given) for c in given]
    columns = {c: _plain(table.iloc[:, k]) for k, c in enumerate(plain)}
    obs = pd.DataFrame(columns, index=_names([str(i) for i in range(len(embeddings))]))
    obs.columns = _names(plain)
    var = pd.DataFrame(index=_names(features))
    provenance = json.dumps(embeddings.provenance, default=str)
    return AnnData(embeddings.matrix, obs, var, {"zoo": provenance})


def _free(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _names(texts: list[str]) -> pd.Index:
    return pd.Index(texts, dtype=object)


def _plain(values: pd.Series) -> NDArray[Any] | pd.Categorical:
    """Return numbers and truth values as NumPy's own, and all else as categories of text."""
    if not pd.api.types.is_extension_array_dtype(values) and values.dtype.kind in "iufb":
        return values.to_numpy()
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        whole = pd.api.types.is_integer_dtype(values) and not values.isna().any()
        return values.to_numpy(np.int64) if whole else values.to_numpy(np.float64, na_value=np.nan)
    text = [None if pd.isna(v) else str(v) for v in values]
    return pd.Categorical(text, categories=_names(sorted({t for t in text if t is not None})))


def read_anndata(path: Path) -> Embeddings:
    """Read ``X`` as the matrix and ``obs`` as the metadata; provenance from ``uns["zoo"]``.

    Categories without an order, which is how text is stored, become text again.

    Raises
    ------
    DataError
        When the file cannot be read, or ``X`` is missing or not finite.
    MissingExtraError
        Without anndata.
    """
    try:
        import anndata
    except ImportError as error:
        raise MissingExtraError(
            f'{path.name} needs anndata: pip install "microscopy-zoo[anndata]"'
        ) from error
    if not path.is_file():
        raise DataError(f"{path} is missing" if not path.exists() else f"{path} is no file")
    try:
        data = anndata.read_h5ad(path)
        told = json.loads(data.uns["zoo"]) if "zoo" in data.uns else {}
    except Exception as error:  # readers raise whatever they like on broken files
        raise DataError(f"{path} is no readable AnnData file: {error}") from error
    if data.X is None:
        raise DataError(f"{path} has no X: there are no features")
    dense = data.X.toarray() if hasattr(data.X, "toarray") else data.X
    matrix = np.ascontiguousarray(dense, dtype=np.float32)
    wrong = ~np.isfinite(matrix).all(axis=1)
    if wrong.any():
        raise DataError(
            f"{path} has features that are NaN or infinite in {int(wrong.sum())} of {len(matrix)} "
            f"rows, the first of them row {int(wrong.argmax())}"
        )
    provenance = {
        "encoder": f"precomputed:{path.stem}",
        "summary": f"X of {path.name}, {matrix.shape[1]} features",
        **told,
        "file": path.name,
        "sha256": sha256(path),
        "features": matrix.shape[1],
        "duplicated_rows": duplicated(matrix),
    }
    table = data.obs.reset_index(drop=True)
    kinds = table.dtypes.items()
    names = [c for c, kind in kinds if isinstance(kind, pd.CategoricalDtype) and not kind.ordered]
    return Embeddings(matrix, table.astype(dict.fromkeys(names, object)), provenance)
