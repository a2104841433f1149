"""CellProfiler's LoadData tables: ``FileName_DNA``, ``PathName_DNA`` and their like."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.registry import DataError

from .._images.pixel_size import in_micrometres
from .choices import Choices
from .dataset import Dataset
from .load_data_reader import ChannelColumns, LoadDataReader
from .positions import with_canonical_positions
from .source import Source

_NAMED = re.compile(r"(FileName|URL)_(.+)")
_ILLUMINATION = "Illum"
_ORIGINAL = "Orig"
_MADE = re.compile(r"overlay|outline|mask", re.IGNORECASE)
_RESOLUTION = "Metadata_ImageResolutionX"


def is_load_data(table: pd.DataFrame) -> bool:
    """Whether a table has columns such as ``FileName_DNA``, ``URL_DNA`` or with ``Image_``."""
    return any(_NAMED.fullmatch(c.removeprefix("Image_")) for c in table.columns)


def open_load_data(path: Path, table: pd.DataFrame, choices: Choices) -> Source:
    """Open a LoadData table.

    Raises
    ------
    DataError
        If it names no channels, or names one file for two channels in every row.
    """
    table = with_canonical_positions(_without_prefix(table))
    given = _names(table, "FileName_") | _names(table, "URL_")
    names = [n for n in given if not n.startswith(_ILLUMINATION) and not _MADE.search(n)]
    every = [m[2] for c in table.columns if (m := _NAMED.fullmatch(c)) and m[1] == "FileName"]
    left_out = {
        "channels without files": [n for n in every if n not in given],
        "overlays and masks made by the pipeline": [n for n in given if _MADE.search(n)],
        "illumination functions of channels that are not there": [
            n for n in given if n.startswith(_ILLUMINATION) and not _corrected(n, names)
        ],
    }
    if not names:
        raise DataError(
            f"{path} names no channels of images: its columns of files are {', '.join(given)}"
        )
    channels = {n: _columns(table, n) for n in names}
    functions = {_corrected(n, names): _columns(table, n) for n in given if _corrected(n, names)}
    notes, doubled = _same_files(path, channels, len(table))
    objects = _names(table, "ObjectsFileName_")
    wanted = choices.crops.source if choices.crops is not None else "Nuclei"
    usual = next((o for o in objects if len(objects) == 1 or o == "Nuclei"), None)
    mask = wanted if wanted in objects else usual
    if mask is not None:
        notes.append(f"masks of the objects {mask}")
    reader = LoadDataReader(
        path,
        tuple(channels.items()),
        {name: columns for name, columns in functions.items() if name is not None},
        None if mask is None else _columns(table, mask, "Objects"),
        _stains(names),
        _pixel_sizes(table),
        doubled,
        choices,
    )
    if functions:
        notes.append(f"illumination functions of {', '.join(_stains(list(map(str, functions))))}")
    return Source(
        "a CellProfiler LoadData table",
        Dataset(path.stem, _metadata(table, channels, {*given, *objects, *every}), reader),
        left_out={reason: files for reason, files in left_out.items() if files},
        notes=tuple(notes),
        stains=_stains(names),
        objects=mask,
    )


def _metadata(
    table: pd.DataFrame, channels: dict[str, ChannelColumns], named: set[str]
) -> pd.DataFrame:
    """Return the columns that say nothing of files, after the name of each image."""
    metadata = table[[c for c in table.columns if not _is_file_column(c, named)]].copy()
    if "image" not in metadata:
        first = next(iter(channels.values()))
        places = first.files if any(map(pd.notna, first.files[:1])) else first.urls
        metadata.insert(0, "image", list(map(str, places or first.files)))
    return metadata


def _without_prefix(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the prefix ``Image_`` of all its columns, if its files have it."""
    if any(_NAMED.fullmatch(c) for c in table.columns):
        return table
    there = set(table.columns)
    shorter = {c: c.removeprefix("Image_") for c in table.columns}
    return table.rename(columns={c: s for c, s in shorter.items() if s == c or s not in there})


def _names(table: pd.DataFrame, prefix: str) -> dict[str, None]:
    """Return the names after a prefix, in order, of columns that are not empty."""
    found = [c for c in table.columns if c.startswith(prefix) and len(c) > len(prefix)]
    return {c.removeprefix(prefix): None for c in found if table[c].notna().any()}


def _corrected(function: str, names: list[str]) -> str | None:
    """Return the channel that an illumination function belongs to; None if there is none."""
    if not function.startswith(_ILLUMINATION):
        return None
    rest = function.removeprefix(_ILLUMINATION)
    return next((n for n in (_ORIGINAL + rest, rest) if n in names), None)


def _columns(table: pd.DataFrame, name: str, prefix: str = "") -> ChannelColumns:
    def cells(kind: str) -> list[object] | None:
        column = f"{prefix}{kind}_{name}"
        return table[column].tolist() if column in table.columns else None

    files = cells("FileName")
    return ChannelColumns(
        [None] * len(table) if files is None else files,
        cells("PathName"),
        cells("URL"),
        cells("Frame"),
        cells("Series"),
    )


def _same_files(
    path: Path, channels: dict[str, ChannelColumns], rows: int
) -> tuple[list[str], dict[int, tuple[str, str]]]:
    """Return a note and, by row, two channels that have the same file and page."""
    doubled: dict[int, tuple[str, str]] = {}
    files = {n: np.array(c.urls or c.files, dtype=object) for n, c in channels.items()}
    for first, second in combinations(channels, 2):
        for i in np.flatnonzero(files[first] == files[second]).tolist():
            if channels[first].key(i) == channels[second].key(i) and any(channels[first].key(i)):
                doubled.setdefault(i, (first, second))
    if not doubled:
        return [], doubled
    row, (first, second) = next(iter(doubled.items()))
    said = f"names one file for the channels {first} and {second}"
    if len(doubled) == rows:
        raise DataError(
            f"{path} {said} in every row: write the right file, or remove the columns of one"
        )
    return [f"{len(doubled)} rows name one file for two channels: row {row + 1} {said}"], doubled


def _stains(names: list[str]) -> tuple[str, ...]:
    """Return the names of channels without ``Orig``, unless that makes two of them the same."""
    short = [n.removeprefix(_ORIGINAL) or n for n in names]
    return tuple(short if len(set(short)) == len(short) else names)


def _pixel_sizes(table: pd.DataFrame) -> list[float | None] | None:
    """Return micrometres by row from Harmony's column, which is in metres."""
    if _RESOLUTION not in table.columns:
        return None
    sizes = {v: in_micrometres(v, "m") for v in table[_RESOLUTION].dropna().unique()}
    return [sizes.get(v) for v in table[_RESOLUTION].tolist()]


def _is_file_column(column: str, names: set[str]) -> bool:
    """Whether a column says where a channel or its objects are, and so is no metadata."""
    kind, _, name = column.partition("_")
    kinds = ("FileName", "PathName", "URL", "Frame", "Series")
    return name in names and kind.removeprefix("Objects") in kinds
