"""Embeddings from files of AnnData, as scanpy and others write them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.registry import DataError, MissingExtraError

from .embeddings import Embeddings
from .tables import duplicated, sha256


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
