"""Read tables of profiles: embeddings that `zoo embed`, pycytominer or anybody else has written."""

import csv
import gzip
import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import DataError, MissingExtraError, near

from .embed import Embeddings

TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz")
_SUFFIX = re.compile(r"\.(parquet|[ct]sv(\.gz)?)$", re.IGNORECASE)
_PREFIX = "Metadata_"
_OURS = re.compile(r"embedding_\d+")
_CELLPROFILER = re.compile(r"(Cells|Cytoplasm|Nuclei|Image(?!_Metadata))_.+")
_IMAGE_METADATA = f"Image_{_PREFIX}"
# Row numbers that pandas writes where nobody asked for them.
_ROW_NUMBER = re.compile(r"Unnamed: \d+|__index_level_\d+__|")
_COLUMNS_AT_A_TIME = 8
_ROWS_AT_A_TIME = 4096
_CELLS_AT_A_TIME = 2**20

Matrix = NDArray[np.float32]
# Positions of the first row and column of a block, and its numbers.
Blocks = Iterator[tuple[int, int, NDArray[Any]]]


def read_profiles(
    path: str | Path,
    *,
    prefix: str | tuple[str, ...] | None = None,
    missing: Literal["raise", "drop"] = "raise",
) -> Embeddings:
    """Read a table of profiles, CSV, TSV (also gzipped) or Parquet, one row for each item.

    Features are the columns ``embedding_0000`` and so on, where there are such; else those of
    CellProfiler (``Cells_*``, ``Cytoplasm_*``, ``Nuclei_*``, ``Image_*``); else, in a table that
    marks its metadata as ``Metadata_*``, all other columns of numbers. Every other column is
    metadata, without its ``Metadata_``. Provenance that `Embeddings.write` has left with the table
    comes back.

    Parameters
    ----------
    path
        The table.
    prefix
        What the names of features begin with, instead.
    missing
        ``"drop"`` leaves out features that are NaN or infinite in any row, and names them in
        ``provenance["dropped_features"]``.

    Raises
    ------
    DataError
        When the table cannot be read, features are not to be told from metadata, are no numbers,
        or are NaN, infinite or beyond float32.
    MissingExtraError
        For Parquet without pyarrow.
    """
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing is {missing!r}, but must be 'raise' or 'drop'")
    if prefix is not None and not (prefix and all(prefix)):
        raise ValueError(f"prefix is {prefix!r}, but must say what names of features begin with")
    path = Path(path)
    table = _open(path)
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
        "sha256": _sha256(path),
        "features": len(kept),
        "duplicated_rows": _duplicated(matrix),
    }
    if dropped:
        provenance["dropped_features"] = dropped
    if ignored:
        provenance["ignored_columns"] = ignored
    return Embeddings(matrix, metadata, provenance)


@dataclass(frozen=True)
class _Table:
    """What is known of a table before its numbers are read.

    `blocks` gives the numbers of some columns piece by piece, so that no second copy is needed.
    """

    path: Path
    rows: int
    columns: list[str]
    numeric: set[str]
    provenance: dict[str, Any]
    metadata: Callable[[list[str]], pd.DataFrame]
    blocks: Callable[[list[str]], Blocks]


def _open(path: Path) -> _Table:
    if not path.name.lower().endswith(TABLE_SUFFIXES):
        raise DataError(f"{path} is none of the tables {', '.join(TABLE_SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path} is missing" if not path.exists() else f"{path} is no file")
    try:
        table = _open_parquet(path) if path.suffix.lower() == ".parquet" else _open_text(path)
    except (DataError, MissingExtraError):
        raise
    except Exception as error:  # readers raise whatever they like on broken files
        raise _unreadable(path, error) from error
    seen: set[str] = set()
    twice = [c for c in table.columns if c in seen or seen.add(c)]  # type: ignore[func-returns-value]
    if twice:
        raise DataError(f"{path} has more than one column called {twice[0]!r}: rename the others")
    if table.rows == 0:
        raise DataError(f"{path} has no rows")
    return table


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()
    return DataError(f"{path} is no readable table: {reason[0] if reason else repr(error)}")


def _open_parquet(path: Path) -> _Table:
    try:
        import pyarrow.parquet as pq
        import pyarrow.types as kinds
    except ImportError as error:
        raise MissingExtraError(
            'Parquet needs pyarrow: pip install "microscopy-zoo[parquet]"'
        ) from error
    file = pq.ParquetFile(path)
    schema = file.schema_arrow

    def metadata(names: list[str]) -> pd.DataFrame:
        if not names:
            return pd.DataFrame(index=range(file.metadata.num_rows))
        # Without the pandas note, which would make an index of columns again.
        return file.read(columns=names).select(names).replace_schema_metadata(None).to_pandas()

    def blocks(names: list[str]) -> Blocks:
        for left in range(0, len(names), _COLUMNS_AT_A_TIME):
            some = names[left : left + _COLUMNS_AT_A_TIME]
            top = 0
            for group in range(file.num_row_groups):
                part = file.read_row_group(group, columns=some)
                yield top, left, np.stack([part.column(n).to_numpy() for n in some], axis=1)
                top += part.num_rows

    return _Table(
        path,
        file.metadata.num_rows,
        [str(name) for name in schema.names],
        {f.name for f in schema if kinds.is_integer(f.type) or kinds.is_floating(f.type)},
        _provenance((schema.metadata or {}).get(b"zoo")),
        metadata,
        blocks,
    )


def _open_text(path: Path) -> _Table:
    name = path.name.lower().removesuffix(".gz")
    separator = "\t" if name.endswith(".tsv") else ","
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        columns = next(csv.reader(file, delimiter=separator), [])
    if not columns:
        raise DataError(f"{path} is empty")
    place = {column: i for i, column in enumerate(columns)}
    options: dict[str, Any] = {"sep": separator, "header": 0, "names": range(len(columns))}
    options |= {"encoding": "utf-8-sig", "index_col": False, "low_memory": False}
    chunk = max(64, _CELLS_AT_A_TIME // len(columns))

    rows = 0
    numeric = dict.fromkeys(columns, True)
    with warnings.catch_warnings():
        # A line with more cells than there are columns would only be cut, with a warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        for part in pd.read_csv(path, chunksize=chunk, **options):
            rows += len(part)
            for column, kind in zip(columns, part.dtypes, strict=True):
                number = pd.api.types.is_numeric_dtype(kind)
                numeric[column] &= number and not pd.api.types.is_bool_dtype(kind)

    def metadata(names: list[str]) -> pd.DataFrame:
        # Only an empty cell is missing: NA and None are names of genes and of compounds.
        table = pd.read_csv(
            path,
            usecols=[place[n] for n in names],
            keep_default_na=False,
            na_values=["", "NaN", "nan"],
            **options,
        )
        table = table[[place[n] for n in names]]
        table.columns = pd.Index(names)
        return table if names else pd.DataFrame(index=range(rows))

    def blocks(names: list[str]) -> Blocks:
        wanted = [place[n] for n in names]
        top = 0
        for part in pd.read_csv(path, usecols=wanted, chunksize=chunk, **options):
            yield top, 0, part[wanted].to_numpy(dtype=np.float64)
            top += len(part)

    sidecar = path.with_suffix(".json")
    stored = sidecar.read_bytes() if sidecar.is_file() else None
    return _Table(
        path,
        rows,
        columns,
        {column for column in columns if numeric[column]},
        _provenance(stored),
        metadata,
        blocks,
    )


def _choose(table: _Table, prefix: str | tuple[str, ...] | None) -> tuple[list[str], list[str]]:
    """Tell features from metadata, and from row numbers, which are neither."""
    columns = table.columns
    ignored = [c for c in columns if _ROW_NUMBER.fullmatch(c)]
    if prefix is not None:
        chosen = [c for c in columns if c.startswith(prefix)]
        if not chosen:
            shown = " or ".join(map(repr, [prefix] if isinstance(prefix, str) else prefix))
            hint = near(prefix if isinstance(prefix, str) else prefix[0], columns)
            raise DataError(f"{table.path} has no column that begins with {shown}.{hint}")
    else:
        ours = [c for c in columns if _OURS.fullmatch(c)]
        chosen = ours or [c for c in columns if _CELLPROFILER.fullmatch(c)]
    if chosen:
        words = [c for c in chosen if c not in table.numeric]
        if words:
            more = f" and {len(words) - 1} more" if len(words) > 1 else ""
            raise DataError(
                f"{table.path} has features that are no numbers: {words[0]}{more}; mark what is "
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
    spoilt = _spoilt(table, [c for c in rest if c not in table.numeric])
    if spoilt is not None:
        raise DataError(
            f"{table.path} has {spoilt[1]!r} among the numbers of column {spoilt[0]}: mend it, or "
            f"call the column {_PREFIX}{spoilt[0]} if it is metadata"
        )
    return chosen, ignored


def _spoilt(table: _Table, names: list[str]) -> tuple[str, str] | None:
    """Find a column of words that are numbers for the most part, and a word in it."""
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
    table: _Table, features: list[str], missing: Literal["raise", "drop"]
) -> tuple[Matrix, list[str]]:
    """Gather the matrix, and the features that are left out of it."""
    matrix = np.empty((table.rows, len(features)), dtype=np.float32)
    bad_rows = np.zeros(table.rows, dtype=bool)
    bad_columns = np.zeros(len(features), dtype=bool)
    try:
        for top, left, numbers in table.blocks(features):
            bottom, right = top + len(numbers), left + numbers.shape[1]
            with np.errstate(over="ignore"):  # what is beyond float32 is refused below
                matrix[top:bottom, left:right] = numbers
            wrong = ~np.isfinite(matrix[top:bottom, left:right])
            bad_rows[top:bottom] |= wrong.any(1)
            bad_columns[left:right] |= wrong.any(0)
    except Exception as error:
        raise _unreadable(table.path, error) from error
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


def _provenance(stored: bytes | None) -> dict[str, Any]:
    """Return what `Embeddings.write` has left; anything else is nobody's provenance."""
    try:
        found = json.loads(stored or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "zoo" in found else {}


def _duplicated(matrix: Matrix) -> int:
    """Count rows that are the same as an earlier one."""
    seen: set[bytes] = set()
    for top in range(0, len(matrix), _ROWS_AT_A_TIME):
        rows = matrix[top : top + _ROWS_AT_A_TIME] + np.float32(0)  # -0 is 0
        seen.update(hashlib.blake2b(row, digest_size=16).digest() for row in rows)
    return len(matrix) - len(seen)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
