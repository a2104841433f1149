"""Tables of profiles on disk, read in blocks of rows."""

import csv
import gzip
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import DataError, MissingExtraError

from .._data.tables import METADATA, holds_numbers

RUN = "zoo_run"
"""The column that names a run, which may be made of digits."""
Matrix = NDArray[np.float32]

TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz")

_COLUMNS_AT_A_TIME = 8

_ROWS_AT_A_TIME = 4096

_CELLS_AT_A_TIME = 2**20

# Positions of the first row and column of a block, and its numbers.
Blocks = Iterator[tuple[int, int, NDArray[Any]]]


@dataclass(frozen=True)
class Table:
    """A table before its numbers are read.

    `blocks` yields the numbers of some columns piece by piece, to avoid a second copy.
    """

    path: Path
    rows: int
    columns: list[str]
    numeric: set[str]
    provenance: dict[str, Any]
    metadata: Callable[[list[str]], pd.DataFrame]
    blocks: Callable[[list[str]], Blocks]


def open_table(path: Path) -> Table:
    if not path.name.lower().endswith(TABLE_SUFFIXES):
        raise DataError(f"{path} is none of the tables {', '.join(TABLE_SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path} is missing" if not path.exists() else f"{path} is not a file")
    try:
        table = open_parquet(path) if path.suffix.lower() == ".parquet" else _open_text(path)
    except (DataError, MissingExtraError):
        raise
    except Exception as error:  # readers raise any exception on broken files
        raise unreadable(path, error) from error
    seen: set[str] = set()
    twice = [c for c in table.columns if c in seen or seen.add(c)]  # type: ignore[func-returns-value]
    if twice:
        raise DataError(f"{path} has more than one column called {twice[0]!r}: rename the others")
    if table.rows == 0:
        raise DataError(f"{path} has no rows")
    return table


def unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()
    return DataError(f"{path} is not a readable table: {reason[0] if reason else repr(error)}")


def open_parquet(path: Path) -> Table:
    """Open a Parquet file, also one without rows."""
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
        # Without the pandas metadata, which would turn columns into an index.
        return file.read(columns=names).select(names).replace_schema_metadata(None).to_pandas()

    def blocks(names: list[str]) -> Blocks:
        for left in range(0, len(names), _COLUMNS_AT_A_TIME):
            some = names[left : left + _COLUMNS_AT_A_TIME]
            top = 0
            for group in range(file.num_row_groups):
                part = file.read_row_group(group, columns=some)
                yield top, left, np.stack([part.column(n).to_numpy() for n in some], axis=1)
                top += part.num_rows

    return Table(
        path,
        file.metadata.num_rows,
        [str(name) for name in schema.names],
        {f.name for f in schema if kinds.is_integer(f.type) or kinds.is_floating(f.type)},
        provenance((schema.metadata or {}).get(b"zoo")),
        metadata,
        blocks,
    )


def _open_text(path: Path) -> Table:
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
        # By default a line with too many cells is cut, with a warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        for part in pd.read_csv(path, chunksize=chunk, **options):
            rows += len(part)
            for column, kind in zip(columns, part.dtypes, strict=True):
                number = pd.api.types.is_numeric_dtype(kind)
                numeric[column] &= number and not pd.api.types.is_bool_dtype(kind)

    def metadata(names: list[str]) -> pd.DataFrame:
        # Only an empty cell is missing: NA and None are names of genes and of compounds.
        missing: dict[str, Any] = {"keep_default_na": False, "na_values": ["", "NaN", "nan"]}
        wanted = [place[n] for n in names]
        table = pd.read_csv(path, usecols=wanted, **missing, **options)[wanted]
        digits = table.select_dtypes("number").columns.tolist()
        if digits:
            text = pd.read_csv(path, usecols=digits, dtype=str, **missing, **options)
            for column in digits:
                is_run = columns[column] == METADATA + RUN
                if is_run or not holds_numbers(table[column], text[column]):
                    table[column] = text[column]
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
    return Table(
        path,
        rows,
        columns,
        {column for column in columns if numeric[column]},
        provenance(stored),
        metadata,
        blocks,
    )


def duplicated(matrix: Matrix) -> int:
    """Count rows that are the same as an earlier one."""
    seen: set[bytes] = set()
    for top in range(0, len(matrix), _ROWS_AT_A_TIME):
        rows = matrix[top : top + _ROWS_AT_A_TIME] + np.float32(0)  # -0 is 0
        seen.update(hashlib.blake2b(row, digest_size=16).digest() for row in rows)
    return len(matrix) - len(seen)


def provenance(stored: bytes | None) -> dict[str, Any]:
    """Return provenance written by `Embeddings.write`, or an empty dict."""
    try:
        found = json.loads(stored or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "zoo" in found else {}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
