"""Feature sets of JUMP-CP in Parquet files: their wells, and their columns without NaN."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo import plugin

WELL = ["Metadata_Source", "Metadata_Plate", "Metadata_Well"]
COUNTS = re.compile(r"(Metadata|Image)_Count_\w+|(Cells|Cytoplasm|Nuclei)_Number_Object_Number")
INTENSITY = re.compile(r"[A-Za-z]+_Intensity_\w+")
VALUES_AT_A_TIME = 2**21  # read from a file

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureSet:
    """Files that hold the same features of different wells, and where each item's row is."""

    name: str
    files: list[Path]
    keys: pd.DataFrame
    columns: list[str]


def feature_sets(files: list[Path]) -> list[FeatureSet]:
    """Sort files into sets, by the names of files and folders."""
    gathered: dict[str, list[Path]] = {}
    for file in files:
        stem, parent = file.stem, file.parent.name
        if stem == parent:
            name = "cellprofiler"
        elif stem.startswith(f"{parent}_"):
            name = stem.removeprefix(f"{parent}_")
        else:
            name = parent if stem == "profiles" else stem
        gathered.setdefault(name, []).append(file)
    reserved = {"cell-count", "intensity"} & gathered.keys()
    if reserved:
        raise plugin.DataError(
            f"{gathered[min(reserved)][0]} has the name of a control: rename the file"
        )
    return [_feature_set(name, found) for name, found in sorted(gathered.items())]


def _feature_set(name: str, files: list[Path]) -> FeatureSet:
    keys, columns = [], None
    for i, file in enumerate(files):
        schema, content = _keys(file)
        found = [n for n, taken in schema.items() if taken]
        if columns is None:
            columns = found
        elif set(found) != set(columns):
            apart = sorted(set(found) ^ set(columns))
            raise plugin.DataError(
                f"{files[0]} and {file} differ in {len(apart)} feature(s), the first of them "
                f"{apart[0]}: all plates of a set need the same"
            )
        keys.append(content.assign(file=i, line=range(len(content))))
    table = pd.concat(keys, ignore_index=True)
    twice = table.duplicated(WELL)
    if twice.any():
        where = table[twice].iloc[0]
        raise plugin.DataError(
            f"the set {name} has the well {where['Metadata_Well']} of plate "
            f"{where['Metadata_Plate']} twice, again in {files[where['file']]}"
        )
    if not any(not c.startswith("Metadata_") for c in columns or []):
        raise plugin.DataError(f"{files[0]} has no features: columns of numbers without Metadata_")
    return FeatureSet(name, files, table, columns or [])


def _keys(file: Path) -> tuple[dict[str, bool], pd.DataFrame]:
    """Whether each column is a feature or a count, by name, and the identifiers of the wells."""
    try:
        import pyarrow.parquet as pq
        import pyarrow.types as kinds
    except ImportError as error:
        raise plugin.MissingExtraError(
            'Parquet needs pyarrow: pip install "microscopy-zoo[parquet]"'
        ) from error
    try:
        schema = pq.read_schema(file)
        lacking = [c for c in WELL if c not in schema.names]
        if lacking:
            raise plugin.DataError(f"{file} lacks the column(s) {', '.join(lacking)}")
        wanted = [c for c in (*WELL, "Metadata_JCP2022") if c in schema.names]
        keys = pq.read_table(file, columns=wanted).replace_schema_metadata(None).to_pandas()
    except (OSError, ValueError) as error:
        raise plugin.DataError(f"{file} is not a readable Parquet file ({error})") from error
    if keys.empty:
        raise plugin.DataError(f"{file} has no rows")
    numeric = {
        f.name: kinds.is_floating(f.type) or kinds.is_integer(f.type)
        for f in schema
        if not re.fullmatch(r"__index_level_\d+__", f.name)
    }
    features = {
        name: number and (not name.startswith("Metadata_") or bool(COUNTS.fullmatch(name)))
        for name, number in numeric.items()
    }
    return features, keys.astype(str).where(keys.notna())


def align(
    sets: list[FeatureSet],
) -> tuple[pd.DataFrame, list[pd.DataFrame], list[str]]:
    """Wells that all sets have, where each set has them, and how many are left out."""
    first = sets[0].keys
    common = pd.MultiIndex.from_frame(first[WELL])
    for other in sets[1:]:
        common = common[common.isin(pd.MultiIndex.from_frame(other.keys[WELL]))]
    if not len(common):
        raise plugin.DataError(
            f"the feature sets {', '.join(s.name for s in sets)} have no well in common: put them "
            "into separate folders"
        )
    notes, places = [], []
    for feature_set in sets:
        index = pd.MultiIndex.from_frame(feature_set.keys[WELL])
        places.append(feature_set.keys.iloc[index.get_indexer(common)].reset_index(drop=True))
        if (rest := len(index) - len(common)) > 0:
            notes.append(f"{rest} well(s) of {feature_set.name} are not in all sets: left out.")
    return places[0].drop(columns=["file", "line"]), places, notes


def said(feature_set: FeatureSet) -> str:
    """Name a set and its files, as messages do."""
    files = feature_set.files
    return f"{feature_set.name} ({files[0].name if len(files) == 1 else f'{len(files)} files'})"


def sound_columns(
    feature_set: FeatureSet, columns: list[str], place: pd.DataFrame
) -> tuple[list[str], list[str]]:
    """Columns that are finite in every item, and a note on the others."""
    bad = np.zeros(len(columns), dtype=bool)
    for left, _, numbers in _blocks(feature_set, columns, place):
        bad[left] |= not np.isfinite(numbers).all()
    if bad.all():
        raise plugin.DataError(
            f"each of the {len(columns)} columns of {said(feature_set)} is NaN or infinite in "
            "some well"
        )
    if not bad.any():
        return columns, []
    note = (
        f"{int(bad.sum())} of {len(columns)} features of {feature_set.name} are NaN or infinite in "
        f"some well and left out, the first of them {columns[int(bad.argmax())]}."
    )
    return [c for c, wrong in zip(columns, bad, strict=True) if not wrong], [note]


def reader(
    feature_set: FeatureSet, columns: list[str], place: pd.DataFrame
) -> Callable[[], Matrix]:
    """Return what reads columns of the items when it is called."""
    return lambda: _read(feature_set, columns, place)


def _read(feature_set: FeatureSet, columns: list[str], place: pd.DataFrame) -> Matrix:
    """Gather columns of the items, `(n, D)`, a few columns of a file at a time."""
    matrix = np.empty((len(place), len(columns)), dtype=np.float32)
    for left, rows, numbers in _blocks(feature_set, columns, place):
        matrix[rows, left] = numbers
    return matrix


def _blocks(feature_set: FeatureSet, columns: list[str], place: pd.DataFrame) -> Any:
    """Yield for each column and file its number, the items, and their values as float32."""
    import pyarrow.parquet as pq

    for i, file in enumerate(feature_set.files):
        rows = np.flatnonzero(place["file"].to_numpy() == i)
        if not len(rows):
            continue
        lines = place["line"].to_numpy()[rows]
        try:
            with pq.ParquetFile(file) as opened:
                width = max(1, VALUES_AT_A_TIME // max(opened.metadata.num_rows, 1))
                for left in range(0, len(columns), width):
                    some = columns[left : left + width]
                    part = opened.read(columns=some)
                    for k, name in enumerate(some):
                        with np.errstate(over="ignore"):  # overflow becomes infinite, and is found
                            numbers = part.column(name).to_numpy()[lines].astype(np.float32)
                        yield left + k, rows, numbers
        except (OSError, ValueError) as error:
            raise plugin.DataError(f"{file} cannot be read ({error})") from error
