"""JUMP Cell Painting (cpg0016): profiles of wells, with controls carved out of their features.

Only profiles are read, not images. Feature sets lie in Parquet files as in the Cell Painting
Gallery: one file for each plate (``PLATE/PLATE.parquet``), or one for all.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import zoo

from .datasets_profiles import askable

GALLERY = "https://cellpainting-gallery.s3.amazonaws.com/index.html#cpg0016-jump/"
TABLES = "https://github.com/jump-cellpainting/datasets, folder metadata"
DMSO = "JCP2022_033924"
# Names of the eight compounds that every plate of compounds carries as positive controls.
POSITIVE = {
    "JCP2022_085227": "aloxistatin",
    "JCP2022_037716": "AMG900",
    "JCP2022_025848": "dexamethasone",
    "JCP2022_046054": "FK-866",
    "JCP2022_035095": "LY2109761",
    "JCP2022_064022": "NVS-PAK1-1",
    "JCP2022_050797": "quinidine",
    "JCP2022_012818": "TC-S-7004",
}
_NOTHING = {"JCP2022_999999": "untreated", "JCP2022_UNKNOWN": "unknown"}
_NO_TARGET = ("no-guide", "non-targeting")
_WELL = ["Metadata_Source", "Metadata_Plate", "Metadata_Well"]
_ADDRESS = r"^([A-Z]{1,2})(\d{1,2})$"
_COUNTS = re.compile(r"(Metadata|Image)_Count_\w+|(Cells|Cytoplasm|Nuclei)_Number_Object_Number")
_INTENSITY = re.compile(r"[A-Za-z]+_Intensity_\w+")
_CELLS_AT_A_TIME = 2**21

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class _FeatureSet:
    """Files that hold the same features of different wells, and where each item's row is."""

    name: str
    files: list[Path]
    keys: pd.DataFrame
    columns: list[str]


def open_profiles(spec: zoo.DatasetSpec, *, path: Path | None = None) -> zoo.Dataset:
    """Open all feature sets of a folder, with the tables that say what the wells are.

    The folder holds, at any depth, ``well.csv`` and ``plate.csv`` (also gzipped), if possible
    ``compound.csv``, ``orf.csv`` and ``crispr.csv``, and Parquet files. ``PLATE/PLATE.parquet`` of
    all plates make the set ``cellprofiler``, ``PLATE/PLATE_NAME.parquet`` the set ``NAME``; every
    other file is a set of its own name. Items are the wells that all sets have. Numbers are read
    when they are asked for; opening looks through them once for those that are missing.

    Raises
    ------
    DataError
        When files or columns are missing, the sets have no well in common, or a well occurs twice.
    MissingExtraError
        Without pyarrow.
    """
    folder = path if path is not None else zoo.cache_folder() / "datasets" / "jump-cp"
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else []
    if not files:
        raise zoo.DataError(
            f"{folder} holds no profiles of JUMP-CP (*.parquet), which are too large to fetch "
            f"unasked: take the plates that you want from {GALLERY} "
            "(SOURCE/workspace/profiles/BATCH/PLATE/PLATE.parquet, or one of the assembled files) "
            f"and well.csv.gz, plate.csv.gz, compound.csv.gz, orf.csv.gz and crispr.csv.gz from "
            f"{TABLES}, put them into one folder, and give it with --data (path=)"
        )
    sets = _feature_sets(files)
    table, places, notes = _align(sets)
    table, more = _describe(table, folder)
    notes += more

    profiles: dict[str, zoo.Precomputed] = {}
    for feature_set, place in zip(sets, places, strict=True):
        features = [c for c in feature_set.columns if not c.startswith("Metadata_")]
        sound, note = _sound(feature_set, features, place)
        notes += note
        profiles[feature_set.name] = zoo.Precomputed(
            f"{len(sound)} features of {_said(feature_set)}", _reader(feature_set, sound, place)
        )
    for name, pattern, control in (
        ("cell-count", _COUNTS, "structural"),
        ("intensity", _INTENSITY, "statistics"),
    ):
        for feature_set, place in zip(sets, places, strict=True):
            chosen = [c for c in feature_set.columns if pattern.fullmatch(c)]
            sound, _ = _sound(feature_set, chosen, place) if chosen else ([], [])
            if sound:
                profiles[name] = zoo.Precomputed(
                    f"{len(sound)} of the columns of {_said(feature_set)}: {sound[0]}"
                    + (", …" if len(sound) > 1 else ""),
                    _reader(feature_set, sound, place),
                    role="control",
                    control=control,  # type: ignore[arg-type]
                )
                break
        else:
            notes.append(f"No feature set has columns for the control {name}, so it is missing.")
    changed = replace(spec, notes=(*spec.notes, *notes))
    return zoo.Dataset(spec.name, table, None, askable(changed, table), profiles)


def _said(feature_set: _FeatureSet) -> str:
    files = feature_set.files
    return f"{feature_set.name} ({files[0].name if len(files) == 1 else f'{len(files)} files'})"


def _feature_sets(files: list[Path]) -> list[_FeatureSet]:
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
        raise zoo.DataError(
            f"{gathered[min(reserved)][0]} has the name of a control: rename the file"
        )
    return [_feature_set(name, found) for name, found in sorted(gathered.items())]


def _feature_set(name: str, files: list[Path]) -> _FeatureSet:
    keys, columns = [], None
    for i, file in enumerate(files):
        schema, content = _keys(file)
        found = [n for n, taken in schema.items() if taken]
        if columns is None:
            columns = found
        elif set(found) != set(columns):
            apart = sorted(set(found) ^ set(columns))
            raise zoo.DataError(
                f"{files[0]} and {file} differ in {len(apart)} feature(s), the first of them "
                f"{apart[0]}: all plates of a set need the same"
            )
        keys.append(content.assign(file=i, line=range(len(content))))
    table = pd.concat(keys, ignore_index=True)
    twice = table.duplicated(_WELL)
    if twice.any():
        where = table[twice].iloc[0]
        raise zoo.DataError(
            f"the set {name} has the well {where['Metadata_Well']} of plate "
            f"{where['Metadata_Plate']} twice, again in {files[where['file']]}"
        )
    if not any(not c.startswith("Metadata_") for c in columns or []):
        raise zoo.DataError(f"{files[0]} has no features: columns of numbers without Metadata_")
    return _FeatureSet(name, files, table, columns or [])


def _keys(file: Path) -> tuple[dict[str, bool], pd.DataFrame]:
    """Which columns are features or counts, by name, and what tells the wells of a file."""
    try:
        import pyarrow.parquet as pq
        import pyarrow.types as kinds
    except ImportError as error:
        raise zoo.MissingExtraError(
            'Parquet needs pyarrow: pip install "microscopy-zoo[parquet]"'
        ) from error
    try:
        schema = pq.read_schema(file)
        lacking = [c for c in _WELL if c not in schema.names]
        if lacking:
            raise zoo.DataError(f"{file} lacks the column(s) {', '.join(lacking)}")
        wanted = [c for c in (*_WELL, "Metadata_JCP2022") if c in schema.names]
        keys = pq.read_table(file, columns=wanted).replace_schema_metadata(None).to_pandas()
    except (OSError, ValueError) as error:
        raise zoo.DataError(f"{file} is no readable Parquet file ({error})") from error
    if keys.empty:
        raise zoo.DataError(f"{file} has no rows")
    numeric = {
        f.name: kinds.is_floating(f.type) or kinds.is_integer(f.type)
        for f in schema
        if not re.fullmatch(r"__index_level_\d+__", f.name)
    }
    features = {
        name: number and (not name.startswith("Metadata_") or bool(_COUNTS.fullmatch(name)))
        for name, number in numeric.items()
    }
    return features, keys.astype(str).where(keys.notna())


def _align(
    sets: list[_FeatureSet],
) -> tuple[pd.DataFrame, list[pd.DataFrame], list[str]]:
    """Wells that all sets have, where each set has them, and how many are left out."""
    first = sets[0].keys
    common = pd.MultiIndex.from_frame(first[_WELL])
    for other in sets[1:]:
        common = common[common.isin(pd.MultiIndex.from_frame(other.keys[_WELL]))]
    if not len(common):
        raise zoo.DataError(
            f"the feature sets {', '.join(s.name for s in sets)} have no well in common: put them "
            "into folders of their own"
        )
    notes, places = [], []
    for feature_set in sets:
        index = pd.MultiIndex.from_frame(feature_set.keys[_WELL])
        places.append(feature_set.keys.iloc[index.get_indexer(common)].reset_index(drop=True))
        if (rest := len(index) - len(common)) > 0:
            notes.append(f"{rest} well(s) of {feature_set.name} are not in all sets: left out.")
    return places[0].drop(columns=["file", "line"]), places, notes


def _table(folder: Path, name: str, columns: list[str]) -> pd.DataFrame | None:
    found = [*sorted(folder.rglob(f"{name}.csv")), *sorted(folder.rglob(f"{name}.csv.gz"))]
    if not found:
        return None
    try:
        table = pd.read_csv(found[0], dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, EOFError, ValueError) as error:
        raise zoo.DataError(f"{found[0]} is no readable table ({error})") from error
    lacking = [c for c in columns if c not in table.columns]
    if lacking:
        raise zoo.DataError(f"{found[0]} lacks the column(s) {', '.join(lacking)}")
    return table


def _describe(table: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Say what was done to each well, and where it lies."""
    notes = []
    if "Metadata_JCP2022" not in table.columns:
        wells = _table(folder, "well", [*_WELL, "Metadata_JCP2022"])
        if wells is None:
            raise zoo.DataError(
                f"{folder} lacks well.csv, and the profiles do not say what was done to their "
                f"wells (Metadata_JCP2022): put it there, from {TABLES}"
            )
        wells = wells.drop_duplicates(_WELL)[[*_WELL, "Metadata_JCP2022"]]
        table = table.merge(wells, on=_WELL, how="left")
    plates = _table(
        folder,
        "plate",
        ["Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_PlateType"],
    )
    if plates is None:
        raise zoo.DataError(f"{folder} lacks plate.csv: put it there, from {TABLES}")
    keys = ["Metadata_Source", "Metadata_Plate"]
    plates = plates.drop_duplicates(keys)[[*keys, "Metadata_Batch", "Metadata_PlateType"]]
    table = table.merge(plates, on=keys, how="left")
    unknown = table["Metadata_Batch"].isna()
    if unknown.any():
        raise zoo.DataError(
            f"plate.csv does not know the plate {table['Metadata_Plate'][unknown].iloc[0]} of "
            f"{table['Metadata_Source'][unknown].iloc[0]}"
        )
    jcp = table["Metadata_JCP2022"]
    if (missing := int(jcp.isna().sum())) > 0:
        notes.append(f"{missing} well(s) have no JCP2022 number and take no part in tasks.")

    kind, label, control = _perturbations(jcp, folder, notes)
    parts = table["Metadata_Well"].str.extract(_ADDRESS)
    if parts.isna().any(axis=None):
        wrong = table["Metadata_Well"][parts[0].isna()].iloc[0]
        raise zoo.DataError(f"the profiles have the well {wrong!r}, which is no row and column")
    source, plate = table["Metadata_Source"], table["Metadata_Plate"]
    described = pd.DataFrame(
        {
            "well_id": source + "/" + plate + "/" + table["Metadata_Well"],
            "source": source,
            "batch": source + "/" + table["Metadata_Batch"],
            "plate": source + "/" + plate,
            "plate_type": table["Metadata_PlateType"],
            "well": table["Metadata_Well"],
            "row": parts[0].map(_row_number).astype(int),
            "column": parts[1].astype(int),
            "jcp2022": jcp,
            "type": kind,
            "gene_or_compound": label,
            "control": control,
        }
    )
    return described, notes


def _row_number(letters: str) -> int:
    return sum(26**i * (ord(c) - 64) for i, c in enumerate(reversed(letters)))


def _perturbations(
    jcp: pd.Series, folder: Path, notes: list[str]
) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Type, gene or compound, and kind of control by JCP2022 number."""
    kind = pd.Series("unknown", index=jcp.index)
    label = jcp.copy()
    control = pd.Series("sample", index=jcp.index)
    for name, column in (
        ("compound", "Metadata_InChIKey"),
        ("orf", "Metadata_Symbol"),
        ("crispr", "Metadata_Symbol"),
    ):
        table = _table(folder, name, ["Metadata_JCP2022", column])
        if table is None:
            continue
        table = table.drop_duplicates("Metadata_JCP2022").set_index("Metadata_JCP2022")
        mine = jcp.isin(table.index)
        kind[mine] = name
        if name == "compound":
            continue
        symbol = jcp.map(table[column])
        label = label.where(~mine | symbol.isna(), symbol)
        control = control.mask(mine & symbol.isin(_NO_TARGET), "negative")
        if "Metadata_pert_type" in table.columns:
            said = jcp.map(table["Metadata_pert_type"])
            control = control.mask(mine & (said == "negcon"), "negative")
            control = control.mask(mine & (said == "poscon"), "other control")
    control = control.mask(jcp == DMSO, "negative").mask(jcp.isin(list(POSITIVE)), "positive")
    for number, state in _NOTHING.items():
        control = control.mask(jcp == number, state)
    control = control.mask(jcp.isna(), "unknown")
    label = label.mask(control.isin(["untreated", "unknown"]))
    known = {DMSO: "DMSO", **POSITIVE}
    label = label.mask(jcp.isin(list(known)), jcp.map(known))
    kind = kind.mask(jcp.isin(list(known)), "compound")
    if (strangers := int(((kind == "unknown") & (control == "sample")).sum())) > 0:
        notes.append(
            f"{strangers} well(s) have a JCP2022 number that is in none of compound.csv, orf.csv "
            "and crispr.csv here: it serves as their name, and controls among them are not known."
        )
    return kind, label, control


def _reader(
    feature_set: _FeatureSet, columns: list[str], place: pd.DataFrame
) -> Callable[[], Matrix]:
    return lambda: _read(feature_set, columns, place)


def _read(feature_set: _FeatureSet, columns: list[str], place: pd.DataFrame) -> Matrix:
    """Gather columns of the items, `(n, D)`, a few columns of a file at a time."""
    matrix = np.empty((len(place), len(columns)), dtype=np.float32)
    for left, rows, numbers in _blocks(feature_set, columns, place):
        matrix[rows, left] = numbers
    return matrix


def _sound(
    feature_set: _FeatureSet, columns: list[str], place: pd.DataFrame
) -> tuple[list[str], list[str]]:
    """Columns that are numbers in every item, and a note on the others."""
    bad = np.zeros(len(columns), dtype=bool)
    for left, _, numbers in _blocks(feature_set, columns, place):
        bad[left] |= not np.isfinite(numbers).all()
    if bad.all():
        raise zoo.DataError(
            f"each of the {len(columns)} columns of {_said(feature_set)} is NaN or infinite in "
            "some well"
        )
    if not bad.any():
        return columns, []
    note = (
        f"{int(bad.sum())} of {len(columns)} features of {feature_set.name} are NaN or infinite in "
        f"some well and left out, the first of them {columns[int(bad.argmax())]}."
    )
    return [c for c, wrong in zip(columns, bad, strict=True) if not wrong], [note]


def _blocks(feature_set: _FeatureSet, columns: list[str], place: pd.DataFrame) -> Any:
    """Yield for each column and file its number, the items, and their values as float32."""
    import pyarrow.parquet as pq

    for i, file in enumerate(feature_set.files):
        rows = np.flatnonzero(place["file"].to_numpy() == i)
        if not len(rows):
            continue
        lines = place["line"].to_numpy()[rows]
        try:
            with pq.ParquetFile(file) as opened:
                width = max(1, _CELLS_AT_A_TIME // max(opened.metadata.num_rows, 1))
                for left in range(0, len(columns), width):
                    some = columns[left : left + width]
                    part = opened.read(columns=some)
                    for k, name in enumerate(some):
                        with np.errstate(over="ignore"):  # beyond float32 is infinite, and seen
                            numbers = part.column(name).to_numpy()[lines].astype(np.float32)
                        yield left + k, rows, numbers
        except (OSError, ValueError) as error:
            raise zoo.DataError(f"{file} cannot be read ({error})") from error
