"""Tables of text and numbers: what is a name stays text."""

import csv
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.registry import DataError, MissingExtraError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
METADATA = "Metadata_"
# Cells with which a column of numbers or truth values may begin: nothing, or what is missing.
_WORDS = {"", "true", "false", "na", "n/a", "#n/a", "<na>", "nan", "null", "none"}


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, TSV or Parquet file.

    Columns called ``Metadata_*`` are text, and so are numbers with leading zeros: ``001`` is the
    name of a plate. Other columns of numbers are numbers. In text only an empty cell is missing,
    for NA and None are names of genes and compounds.

    Raises
    ------
    DataError
        If it is no table, or its rows have more fields than its head has names.
    """
    try:
        if path.suffix.lower() == ".parquet":
            table = _read_parquet(path)
        else:
            table = _read_text(path, "\t" if path.suffix.lower() == ".tsv" else ",")
    except (DataError, MissingExtraError):
        raise
    except Exception as error:  # parsers raise any exception on broken files
        reason = str(error).strip().splitlines()
        raise DataError(
            f"{path} is not a readable table: {reason[0] if reason else error}"
        ) from error
    table.columns = table.columns.map(str)
    return table


def has_only_numbers(values: pd.Series) -> bool:
    """Whether all values that are not missing are numbers, or texts that spell one."""
    if pd.api.types.is_numeric_dtype(values):
        return True
    known = values.dropna()
    try:  # most columns of text end at their first value
        if len(known):
            float(known.iloc[0])
        pd.to_numeric(known)
    except (TypeError, ValueError):
        return False
    return True


def holds_numbers(inferred: pd.Series, text: pd.Series) -> bool:
    """Whether a column holds numbers, and no names made of digits or of words such as NA."""
    if not pd.api.types.is_numeric_dtype(inferred):
        return False
    if not inferred.notna().any():
        return not text.notna().any()
    return not text.dropna().str.match(r"0\d").any()


def as_text(values: pd.Series) -> pd.Series:
    """Return a column as text; whole numbers lose their decimal point, missing stays missing."""
    if not pd.api.types.is_numeric_dtype(values):
        return values.map(str, na_action="ignore").astype(object)
    if pd.api.types.is_float_dtype(values):
        return values.map(
            lambda v: str(int(v)) if v == int(v) else str(v), na_action="ignore"
        ).astype(object)
    return values.map(str, na_action="ignore").astype(object)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except ImportError as error:
        raise MissingExtraError(
            'Parquet needs pyarrow: pip install "microscopy-zoo[parquet]"'
        ) from error
    for column in table.columns:
        if str(column).startswith(METADATA):
            table[column] = as_text(table[column])
    return table


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    _check_fields(path, separator)
    options: dict[str, Any] = {"sep": separator, "encoding": "utf-8-sig", "index_col": False}
    with warnings.catch_warnings():
        # By default a line with too many cells is cut, with a warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        text = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], **options)
        places = [k for k, c in enumerate(text.columns) if _may_be_numbers(c, text[c])]
        if not places:
            return text
        inferred = pd.read_csv(path, low_memory=False, usecols=places, **options)
    for column in inferred.columns:
        if holds_numbers(inferred[column], text[column]):
            text[column] = inferred[column]
    return text


def _may_be_numbers(column: str, text: pd.Series) -> bool:
    """Whether a column has to be looked at: most hold text, as its first cell tells."""
    if column.startswith(METADATA):
        return False
    first = text.first_valid_index()
    value = "" if first is None else str(text.at[first])
    try:
        float(value)
    except ValueError:
        return value.casefold() in _WORDS
    return True


def _check_fields(path: Path, separator: str) -> None:
    """Refuse a first row with more fields than the head: pandas would shift the columns."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=separator)
        head, first = next(lines, []), next(lines, [])
    if head and len(first) > len(head):
        raise DataError(
            f"{path} is not a readable table: its first row has {len(first)} fields, but its head "
            f"names {len(head)} ({', '.join(head)}): name the others, or remove the separators at "
            "the ends of the rows"
        )
