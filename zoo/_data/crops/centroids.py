"""Tables of centroids, of CellProfiler, DeepProfiler and others, joined to the images."""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from zoo.registry import DataError

from ..dataset import Dataset, files_of
from ..positions import POSITIONS, with_canonical_positions
from ..tables import as_text, read_table
from .masks import Find
from .objects import AREA, BOX, NUMBER, Objects, X, Y

DATABASES = (".sqlite", ".db")
# Names of columns, the most usual first; a compartment may stand before those of CellProfiler.
_X = (
    r"(?:{0}_)?Location_Center_X",
    r"(?:{0}_)?AreaShape_Center_X",
    r"x|center_x|centre_x|centroid_x|centroid-1",
)
_COMPARTMENTS = ("Nuclei", "Cells", r"\w+")
_NESTED = "CellCenters"
_TIME = "Metadata_Timepoint"
_NO_ROWS = pd.DataFrame({NUMBER: pd.Series([], dtype="int64"), X: [], Y: []})


def find_in_table(path: Path, dataset: Dataset) -> Find:
    """Find objects in a table of centroids: CSV, TSV, Parquet, or SQLite of CellProfiler.

    Rows are joined to images by ``ImageNumber``, by ``image``, by plate, well and site, or by the
    file names in the ``Image.csv`` beside it.

    Raises
    ------
    DataError
        If it has no rows or no centroids, or does not say which image they belong to.
    """
    table = _read(path)
    if table.empty:
        raise DataError(f"{path} has no rows: there are no centroids")
    table = _with_centres(table, path)
    places = _images_of_rows(table, dataset, path)
    kept = table[[NUMBER, X, Y, *(c for c in (AREA, *BOX) if c in table.columns)]]
    rows = {int(i): part for i, part in kept.groupby(places, sort=False) if i >= 0}
    if not rows:
        raise DataError(f"no row of {path} belongs to one of the {len(dataset)} images")
    return lambda i: Objects(rows.get(i, _NO_ROWS).reset_index(drop=True))


def find_in_locations(folder: Path, dataset: Dataset) -> Find:
    """Find objects in DeepProfiler's ``PLATE/WELL-SITE-Nuclei.csv``; no file means no object.

    Raises
    ------
    DataError
        If images have no plate, well and site, or no file belongs to any of them.
    """
    table = with_canonical_positions(dataset.metadata)
    missing = [c for c in POSITIONS if c not in table.columns]
    if missing:
        raise DataError(
            f"{folder} holds locations by plate, well and site, but the images have no {missing[0]}"
        )
    files: dict[tuple[str, str, str], Path] = {}
    for path in location_files(folder):
        well, site = path.stem.split("-")[:2]
        one = pd.DataFrame([[path.parent.name, well, site]], columns=list(POSITIONS))
        key = tuple(with_canonical_positions(one).iloc[0])
        if key in files:
            raise DataError(
                f"{folder} has two files of one image, {files[key].name} and {path.name}: give a "
                "folder with one of them"
            )
        files[key] = path
    wanted = list(table[list(POSITIONS)].itertuples(index=False, name=None))
    if not set(wanted) & set(files):
        raise DataError(
            f"no file in {folder} is of one of the images: {'/'.join(next(iter(files)))} is of "
            f"none, and the first image is {'/'.join(map(str, wanted[0]))}"
        )

    def find(i: int) -> Objects:
        path = files.get(wanted[i])
        if path is None:
            return Objects(_NO_ROWS)
        found = read_table(path)
        return Objects(_NO_ROWS if found.empty else _with_centres(found, path)[[NUMBER, X, Y]])

    return find


def location_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are called as DeepProfiler's locations."""
    return sorted(p for p in folder.glob("*/*.csv") if re.fullmatch(r"[^-]+-[^-]+-\w+", p.stem))


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() in DATABASES:
        return _read_database(path)
    table = read_table(path)
    if _NESTED not in table.columns:
        return table
    # JUMP: a list of dictionaries for each image.
    table = table.explode(_NESTED, ignore_index=True).dropna(subset=[_NESTED])
    if table.empty:
        return table
    centres = pd.DataFrame(table[_NESTED].tolist(), index=table.index)
    return pd.concat([table.drop(columns=_NESTED), centres], axis=1)


def _read_database(path: Path) -> pd.DataFrame:
    """Read the nuclei, or the first objects, of a database of CellProfiler with their images."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            tables = pd.read_sql("select name from sqlite_master where type = 'table'", base)
            names = {str(n).casefold(): str(n) for n in tables["name"]}
            objects = next((names[n] for n in ("nuclei", "cells") if n in names), None)
            if objects is None or "image" not in names:
                raise DataError(f"{path} has the tables {', '.join(names.values())}, no Nuclei")
            found = pd.read_sql(f'select * from "{objects}"', base)
            images = pd.read_sql(f'select * from "{names["image"]}"', base)
    except (sqlite3.Error, pd.errors.DatabaseError) as error:
        raise DataError(f"{path} is no readable database: {error}") from error
    by = [c for c in ("TableNumber", "ImageNumber") if c in found and c in images]
    images = images.rename(columns=lambda c: c.removeprefix("Image_"))
    said = [c for c in images if c.startswith(("Metadata_", "FileName_")) and c not in found]
    return found.merge(images[[*by, *said]], on=by, how="left")


def _with_centres(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table with numbers of objects, centres, areas and boxes under their usual names."""
    columns = [str(c) for c in table.columns]
    found = next(
        (
            c
            for pattern in _X
            for part in _COMPARTMENTS
            for c in columns
            if re.fullmatch(pattern.format(part), c, re.IGNORECASE)
        ),
        None,
    )
    other = found and (found[:-1] + ("Y" if found[-1] == "X" else "y"))
    if found == "centroid-1":
        other = "centroid-0"
    if found is None or other not in columns:
        raise DataError(
            f"{path} has no centroids: columns such as {X} and {Y}, or x and y; its columns are "
            f"{', '.join(columns[:8])}{', …' if len(columns) > 8 else ''}"
        )
    part = re.match(r"(\w+)_(?:Location|AreaShape)_Center_X", found)
    before = f"{part[1]}_" if part else ""
    renamed = {found: X, other: Y}
    renamed |= {before + c: c for c in (NUMBER, "Number_Object_Number", AREA, *BOX)}
    table = table.drop(columns=[c for c in (X, Y) if c in table and c not in (found, other)])
    table = table.rename(columns={a: b for a, b in renamed.items() if b not in table or a == found})
    for column in (X, Y):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    empty = int(table[[X, Y]].isna().any(axis=1).sum())
    if empty:
        raise DataError(f"{path} has {empty} rows without a centroid: leave them out")
    if NUMBER not in table:
        table[NUMBER] = range(1, len(table) + 1)
    return table


def _images_of_rows(table: pd.DataFrame, dataset: Dataset, path: Path) -> pd.Series:
    """Return the place of each row's image; -1 for images that are not in the dataset."""
    table = with_canonical_positions(table)
    images = with_canonical_positions(dataset.metadata)
    both = [c for c in (*POSITIONS, _TIME) if c in table and c in images]
    if "ImageNumber" in table and "ImageNumber" in images:
        numbers = [c for c in ("TableNumber", "ImageNumber") if c in table and c in images]
        return _joined(table, images, numbers, path)
    if "image" in table and "image" in images:
        if not table["image"].isin(images["image"]).any():  # in another folder
            table, images = (t.assign(image=t["image"].map(_file_name)) for t in (table, images))
        return _joined(table, images, ["image"], path)
    if {"Metadata_Well", "Metadata_Site"} & set(both):
        return _joined(table, images, both, path)
    files = _by_files(table, dataset, path)
    if files is not None:
        return files
    if len(dataset) == 1 and "ImageNumber" not in table:
        return pd.Series(0, index=table.index)
    raise DataError(
        f"{path} does not say which of the {len(dataset)} images a row belongs to: it needs a "
        "column image, ImageNumber with an Image.csv beside it, or Metadata_Plate, Metadata_Well "
        "and Metadata_Site as the images have"
    )


def _joined(table: pd.DataFrame, images: pd.DataFrame, by: Sequence[str], path: Path) -> pd.Series:
    keys = _texts(images, by)
    twice = keys[keys.duplicated()]
    if len(twice):
        raise DataError(
            f"{path} has {', '.join(by)} in common with the images, which does not tell them "
            f"apart: {'/'.join(map(str, twice.iloc[0]))} is of several; add a column image"
        )
    places = _texts(table, by).merge(keys.assign(place=range(len(keys))), on=list(by), how="left")
    return places["place"].fillna(-1).astype(np.int64).set_axis(table.index)


def _texts(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns as text, each different value converted once."""
    found = {}
    for name in columns:
        codes, values = pd.factorize(table[name], use_na_sentinel=False)
        found[name] = as_text(pd.Series(values)).to_numpy(dtype=object)[codes]
    return pd.DataFrame(found)


def _by_files(table: pd.DataFrame, dataset: Dataset, path: Path) -> pd.Series | None:
    """Join rows by the files of their images, as the table or ``Image.csv`` beside it says."""
    files = [c for c in table.columns if str(c).startswith("FileName_")]
    beside = path.with_name("Image.csv")
    if not files and "ImageNumber" in table and beside.is_file() and beside != path:
        listed = read_table(beside)
        files = [c for c in listed.columns if c.removeprefix("Image_").startswith("FileName_")]
        if "ImageNumber" not in listed:
            return None
        own = listed.drop_duplicates("ImageNumber")[["ImageNumber", *files]]
        table = (
            table[["ImageNumber"]].merge(own, on="ImageNumber", how="left").set_axis(table.index)
        )
    if not files:
        return None
    places: dict[str, int] = {}
    for i in range(len(dataset)):
        named = [_file_name(p) for p in files_of(dataset.read, i)]
        if "image" in dataset.metadata:
            named.append(_file_name(dataset.metadata["image"].iloc[i]))
        places |= dict.fromkeys(named, i)
    found = pd.Series(-1, index=table.index)
    for column in files:
        own = table[column].map(lambda v: places.get(_file_name(v), -1))
        found = found.where(found >= 0, own)
    return found


def _file_name(value: object) -> str:
    return PurePosixPath(str(value).replace("\\", "/")).name
