"""Read tables of profiles: embeddings written by `zoo embed`, pycytominer or other tools."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import DataError, suggest

from .anndata_files import read_anndata
from .embeddings import Embeddings
from .job_folder import JobFolder
from .parts import open_parts, parts_sha256
from .tables import Table, duplicated, open_table, sha256, unreadable

_SUFFIX = re.compile(r"\.(parquet|[ct]sv(\.gz)?)$", re.IGNORECASE)

_PREFIX = "Metadata_"

_OURS = re.compile(r"embedding_\d+")

_CELLPROFILER = re.compile(r"(Cells|Cytoplasm|Nuclei|Image(?!_Metadata))_.+")

_IMAGE_METADATA = f"Image_{_PREFIX}"

# Index columns that pandas writes by default.
_ROW_NUMBER = re.compile(r"Unnamed: \d+|__index_level_\d+__|")

Matrix = NDArray[np.float32]


def read_profiles(
    path: str | Path,
    *,
    prefix: str | tuple[str, ...] | None = None,
    missing: Literal["raise", "drop"] = "raise",
) -> Embeddings:
    """Read a table of profiles: CSV, TSV (also gzipped), Parquet or AnnData, one row for each item.

    The folder of a finished job of ``zoo embed`` is read as one table.

    Features are the columns ``embedding_0000`` and so on; without these, the CellProfiler columns
    (``Cells_*``, ``Cytoplasm_*``, ``Nuclei_*``, ``Image_*``); without these too, all numeric
    columns of a table that marks its metadata as ``Metadata_*``. Every other column is metadata,
    without its ``Metadata_``. Provenance written by `Embeddings.write` is restored.

    Parameters
    ----------
    path
        The table, or the folder of a job; of ``.h5ad``, ``X`` holds the features and ``obs`` the
        metadata.
    prefix
        Prefix of the feature names, instead of these rules.
    missing
        ``"drop"`` removes features that are NaN or infinite in any row, and lists them in
        ``provenance["dropped_features"]``.

    Raises
    ------
    DataError
        When the table cannot be read, features cannot be told from metadata, are not numeric, or
        are NaN, infinite or beyond float32; when shards of a job are missing.
    MissingExtraError
        For Parquet without pyarrow, for ``.h5ad`` without anndata.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> table = pd.DataFrame({"Metadata_well": ["A01", "A02"], "Cells_Area": [210.0, 190.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.to_csv(f"{folder}/plate.csv", index=False)
    ...     profiles = zoo.read_profiles(f"{folder}/plate.csv")
    >>> profiles.shape, profiles.metadata["well"].tolist()
    ((2, 1), ['A01', 'A02'])
    """
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing is {missing!r}, but must be 'raise' or 'drop'")
    if prefix is not None and not (prefix and all(prefix)):
        raise ValueError(f"prefix is {prefix!r}, but must be the beginning of feature names")
    path = Path(path)
    if path.suffix.lower() == ".h5ad" and not path.is_dir():
        return read_anndata(path)
    table = open_parts(path) if path.is_dir() else open_table(path)
    features, ignored = _choose(table, prefix)
    matrix, dropped = _fill(table, features, missing)
    metadata = table.metadata([c for c in table.columns if c not in {*features, *ignored}])
    metadata.columns = _names(path, metadata.columns)
    kept = [name for name in features if name not in dropped]
    span = kept[0] if len(kept) == 1 else f"{kept[0]} … {kept[-1]}"
    provenance = {
        "encoder": f"precomputed:{_SUFFIX.sub('', path.name)}",
        "summary": f"{len(kept)} columns of {path.name}: {span}",
        **table.provenance,
        "file": path.name,
        "sha256": parts_sha256(path) if path.is_dir() else sha256(path),
        "features": len(kept),
        "duplicated_rows": duplicated(matrix),
    }
    if dropped:
        provenance["dropped_features"] = dropped
    if ignored:
        provenance["ignored_columns"] = ignored
    failures = JobFolder(path).failures() if path.is_dir() else []
    return Embeddings(matrix, metadata, provenance, tuple(failures))


def feature_columns(path: str | Path) -> list[str]:
    """List the feature columns of a table of profiles, or of the folder of a job.

    Other tools ask for this list, such as pycytominer's ``normalize(features=…)``.

    Parameters
    ----------
    path
        Parquet, CSV or TSV, read by the rules of `read_profiles`; or the folder of a job.

    Raises
    ------
    DataError
        When the table cannot be read, a job is not complete, or features cannot be told from
        metadata.
    MissingExtraError
        For Parquet without pyarrow.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> table = pd.DataFrame({"Metadata_Well": ["A01"], "embedding_0000": [0.5]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.to_csv(f"{folder}/plate.csv", index=False)
    ...     zoo.feature_columns(f"{folder}/plate.csv")
    ['embedding_0000']
    """
    path = Path(path)
    return _choose(open_parts(path) if path.is_dir() else open_table(path), None)[0]


def _choose(table: Table, prefix: str | tuple[str, ...] | None) -> tuple[list[str], list[str]]:
    """Return feature columns and ignored columns, such as row numbers."""
    columns = table.columns
    ignored = [c for c in columns if _ROW_NUMBER.fullmatch(c)]
    if prefix is not None:
        chosen = [c for c in columns if c.startswith(prefix)]
        if not chosen:
            shown = " or ".join(map(repr, [prefix] if isinstance(prefix, str) else prefix))
            hint = suggest(prefix if isinstance(prefix, str) else prefix[0], columns)
            raise DataError(f"{table.path} has no column that begins with {shown}.{hint}")
    else:
        ours = [c for c in columns if _OURS.fullmatch(c)]
        chosen = ours or [c for c in columns if _CELLPROFILER.fullmatch(c)]
    if chosen:
        words = [c for c in chosen if c not in table.numeric]
        if words:
            more = f" and {len(words) - 1} more" if len(words) > 1 else ""
            raise DataError(
                f"{table.path} has features that are not numbers: {words[0]}{more}; mark "
                f"metadata as {_PREFIX}…, or name the features with prefix="
            )
        return chosen, [c for c in ignored if c not in chosen]
    marked = [c for c in columns if c.startswith((_PREFIX, _IMAGE_METADATA))]
    rest = [c for c in columns if c not in {*marked, *ignored}]
    chosen = [c for c in rest if c in table.numeric]
    if not marked:
        raise DataError(
            f"{table.path} does not say which of its {len(columns)} columns are features "
            f"({_shown(columns)}): call the others {_PREFIX}…, or name features with prefix="
        )
    if not chosen:
        raise DataError(f"{table.path} has no columns of numbers besides {_shown(marked)}")
    mixed = _mixed_column(table, [c for c in rest if c not in table.numeric])
    if mixed is not None:
        raise DataError(
            f"{table.path} has {mixed[1]!r} among the numbers of column {mixed[0]}: fix it, or "
            f"call the column {_PREFIX}{mixed[0]} if it is metadata"
        )
    return chosen, ignored


def _mixed_column(table: Table, names: list[str]) -> tuple[str, str] | None:
    """Find a text column of mostly numbers, and one of its other values."""
    for name in names:
        values = table.metadata([name])[name].dropna()
        numbers = pd.to_numeric(values.astype(str), errors="coerce")
        if values.dtype != bool and numbers.notna().sum() > len(values) / 2:
            wrong = values[numbers.isna()]
            return name, str(wrong.iloc[0] if len(wrong) else values.iloc[0])
    return None


def _shown(columns: Sequence[str]) -> str:
    return ", ".join(columns[:6]) + (", …" if len(columns) > 6 else "")


def _fill(
    table: Table, features: list[str], missing: Literal["raise", "drop"]
) -> tuple[Matrix, list[str]]:
    """Read the matrix, and return it with the features that were dropped."""
    matrix = np.empty((table.rows, len(features)), dtype=np.float32)
    bad_rows = np.zeros(table.rows, dtype=bool)
    bad_columns = np.zeros(len(features), dtype=bool)
    try:
        for top, left, numbers in table.blocks(features):
            bottom, right = top + len(numbers), left + numbers.shape[1]
            with np.errstate(over="ignore"):  # values beyond float32 are refused below
                matrix[top:bottom, left:right] = numbers
            wrong = ~np.isfinite(matrix[top:bottom, left:right])
            bad_rows[top:bottom] |= wrong.any(1)
            bad_columns[left:right] |= wrong.any(0)
    except Exception as error:
        raise unreadable(table.path, error) from error
    if not bad_columns.any():
        return matrix, []
    dropped = [features[i] for i in np.flatnonzero(bad_columns)]
    if missing == "raise":
        raise DataError(
            f"{table.path} has NaN or infinite numbers, or some beyond float32, in "
            f"{int(bad_rows.sum())} of {table.rows} rows and {len(dropped)} of {len(features)} "
            f"features, the first of them {dropped[0]}: leave out those rows, or those features "
            'with missing="drop"'
        )
    if len(dropped) == len(features):
        raise DataError(f"{table.path} has NaN or infinite numbers in each of its features")
    return np.ascontiguousarray(matrix[:, ~bad_columns]), dropped


def _names(path: Path, columns: pd.Index) -> list[str]:
    names = [
        c.removeprefix(_IMAGE_METADATA if c.startswith(_IMAGE_METADATA) else _PREFIX)
        for c in map(str, columns)
    ]
    for name, column in zip(names, columns, strict=True):
        if not name or names.count(name) > 1:
            raise DataError(
                f"{path} has a column {column!r} whose name without {_PREFIX} is "
                + ("nothing: rename it" if not name else "taken: rename one of the two")
            )
    return names
