"""AnnData in encodings that old and new versions, and other tools, read."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import MissingExtraError

if TYPE_CHECKING:
    from anndata import AnnData

# Names of columns at which anndata fails.
_RESERVED = ("dtype", "_index")


def as_anndata(
    matrix: NDArray[np.float32], frame: pd.DataFrame, provenance: Mapping[str, Any]
) -> "AnnData":
    """Return the matrix as ``X``, the metadata as ``obs``, provenance as JSON in ``uns``.

    `frame` holds metadata, and then the columns of the matrix.

    Text is categorical and all names are plain objects: files then hold the encodings from before
    pandas 3, whose own strings some versions of anndata cannot write, and other tools not read. In
    names of columns a slash becomes ``_``; ``dtype`` and ``_index``, which anndata cannot write,
    get a ``_`` at their end.

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
    features = frame.columns[len(frame.columns) - matrix.shape[1] :].tolist()
    table = frame.drop(columns=features)
    given = [str(c).removeprefix("Metadata_") for c in table.columns]
    plain = [_free(c, given) for c in given]
    columns = {c: _plain(table.iloc[:, k]) for k, c in enumerate(plain)}
    obs = pd.DataFrame(columns, index=_names([str(i) for i in range(len(matrix))]))
    obs.columns = _names(plain)
    var = pd.DataFrame(index=_names(features))
    return AnnData(matrix, obs, var, {"zoo": json.dumps(provenance, default=str)})


def _free(name: str, taken: list[str]) -> str:
    """Return a name that can stand in the file: a slash would be a folder."""
    found = name.replace("/", "_") + ("_" if name in _RESERVED else "")
    while found != name and found in taken:
        found += "_"
    return found


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
