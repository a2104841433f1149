"""Tables with a column of image files, or one column for each stain."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from zoo.registry import DataError

from .._images.image import Image
from .._images.read import SUFFIXES, read_image
from .choices import Choices
from .dataset import Dataset
from .load_data import is_load_data, open_load_data
from .paths import local_file, locate
from .positions import POSITIONS, with_canonical_positions
from .source import Source
from .tables import has_only_numbers, read_table

_IMAGE_COLUMNS = ("image", "image_path")
_STAIN_COLUMNS = ("stains", "channels")
_PREFIX = "image_"


@dataclass(frozen=True)
class TableReader:
    """Reads the image of a row; columns are kept as lists, since tables have millions of rows."""

    thread_safe: ClassVar[bool] = True
    path: Path
    folder: Path | str
    files: tuple[list[Any], ...]
    per_file: tuple[str, ...] | None
    stains: list[Any] | None
    choices: Choices

    def __call__(self, i: int) -> Image:
        given, names = self._named(i)
        if not given:
            raise DataError(f"row {i + 1} of {self.path.name} names no file")
        twice = next((part for part in given if given.count(part) > 1), None)
        if twice is not None:
            raise DataError(f"row {i + 1} of {self.path.name} names {twice} for several channels")
        choices = self.choices
        paths = [locate(part, self.folder, choices.moved) for part in given]
        one = len(paths) == 1
        image = read_image(
            paths[0] if one else paths,
            axes=choices.axes,
            z=choices.z,
            channels=len(names) if one and names is not None else None,
        )
        if names is None:
            return image
        if len(names) != len(image.pixels):
            raise DataError(
                f"{' | '.join(p.name for p in paths)} has {len(image.pixels)} channel(s), "
                f"but row {i + 1} of {self.path.name} names {len(names)}: {', '.join(names)}"
            )
        return replace(image, stains=names)

    def files_of(self, i: int) -> list[str]:
        """Return the files of a row that are on this machine."""
        found = [local_file(part, self.folder, self.choices.moved) for part in self._named(i)[0]]
        return [path for path in found if path is not None]

    def _named(self, i: int) -> tuple[list[str], tuple[str, ...] | None]:
        """Return the files of a row and the names of their channels."""
        cells = [_text(column[i]) for column in self.files]
        if self.per_file is not None:
            present = [k for k, cell in enumerate(cells) if cell]
            return [cells[k] for k in present], tuple(self.per_file[k] for k in present)
        names = _text(self.stains[i]) if self.stains is not None else ""
        stains = tuple(part.strip() for part in names.split("|")) if names else None
        return ([part.strip() for part in cells[0].split("|")] if cells[0] else []), stains


def image_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that name image files; none if it is no table of images."""
    whole = [c for c in _IMAGE_COLUMNS if c in table.columns][:1]
    return whole or [
        c for c in table.columns if c.startswith(_PREFIX) and not has_only_numbers(table[c])
    ]


def open_table(path: Path, choices: Choices) -> Source:
    """Open a table whose rows name image files.

    Raises
    ------
    DataError
        If it cannot be read, or has no column of images.
    """
    table = read_table(path)
    columns = image_columns(table)
    if is_load_data(table) and columns[:1] not in (["image"], ["image_path"]):
        return open_load_data(path, table, choices)
    index = () if columns else _channels_of_index(table)
    if not columns and not index:
        raise DataError(
            f"{path} has neither a column 'image' nor columns such as 'image_DNA'; "
            f"its columns are {', '.join(map(str, table.columns))}"
        )
    per_file = stains = None
    folder = choices.base or path.parent
    if index:
        per_file, columns = index, list(index)
        images = path.parent.parent / "images"
        folder = images if choices.base is None and images.is_dir() else folder
    elif columns[0] not in _IMAGE_COLUMNS:
        per_file = tuple(c.removeprefix(_PREFIX) for c in columns)
    else:
        named = next((c for c in _STAIN_COLUMNS if c in table.columns), None)
        if named is not None and not has_only_numbers(table[named]):
            stains = table[named].tolist()
    files = tuple(table[c].tolist() for c in columns)
    reader = TableReader(path, folder, files, per_file, stains, choices)
    name = path.stem if path.stem != "labels" else path.parent.resolve().name
    if not index:
        return Source("a table of image files", Dataset(name, table, reader))
    table = with_canonical_positions(table.drop(columns=columns))
    table.insert(0, "image", files[0])
    return Source("an index of DeepProfiler", Dataset(name, table, reader), stains=index)


def _channels_of_index(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the channels of an index of DeepProfiler: columns of image files, beside positions."""
    if not set(POSITIONS) <= set(table.columns):
        return ()
    return tuple(
        column
        for column in table.columns
        if column not in POSITIONS
        and not pd.api.types.is_numeric_dtype(table[column])
        and len(known := table[column].dropna())
        and known.map(lambda v: str(v).lower().endswith(SUFFIXES)).all()
    )


def _text(cell: Any) -> str:
    """Return the text of a cell, empty if it is missing."""
    if isinstance(cell, str):
        return cell.strip()
    return "" if pd.isna(cell) else str(cell).strip()
