"""Read the images of a LoadData table: files, pages, illumination functions and masks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import DataError, ImageError

from .._images.image import Image
from .._images.read import join_channels, named_errors, read_image
from .._images.tiff import SUFFIXES, read_page
from .choices import Choices
from .paths import is_plain, local_file, locate

# Illumination functions kept in memory: those of one plate with some to spare.
_KEPT = 8


@dataclass(frozen=True)
class ChannelColumns:
    """Cells of one channel, one for each row; None where the table has no such column."""

    files: list[Any]
    folders: list[Any] | None
    urls: list[Any] | None
    frames: list[Any] | None
    series: list[Any] | None

    def path(self, i: int, root: Path | str, moved: Mapping[str, str]) -> Path | None:
        """Return the file of a row; None if the row names none."""
        whole = self._whole(i)
        return locate(whole, root, moved) if whole else None

    def local_path(
        self, i: int, root: Path | str, moved: Mapping[str, str], starts: dict[Any, str]
    ) -> str | None:
        """Return the file of a row; None if the row names none, or one on another machine.

        Tables have millions of rows and few folders: `starts` keeps what paths begin with.
        """
        name, folder = self.files[i], None if self.folders is None else self.folders[i]
        if isinstance(name, str) and isinstance(folder, str) and is_plain(name):
            start = starts.get(folder)
            if start is None:
                start = starts[folder] = _start(folder.strip().rstrip("/"), root, moved)
            if start and name.strip():
                return start + name.strip()
        whole = self._whole(i)
        return local_file(whole, root, moved) if whole else None

    def _whole(self, i: int) -> str:
        name, folder = _text(self.files, i), _text(self.folders, i)
        return f"{folder.rstrip('/')}/{name}" if name and folder else name or _text(self.urls, i)

    def place(self, i: int) -> tuple[int | None, int]:
        """Return the page and the series of a row, from 0; None for the whole file."""
        page, series = (_text(cells, i) for cells in (self.frames, self.series))
        try:
            return (int(float(page)) if page else None), (int(float(series)) if series else 0)
        except ValueError as error:
            raise DataError(f"Frame {page!r} and Series {series!r} are not numbers") from error

    def key(self, i: int) -> tuple[str, ...]:
        """Return what tells the file and page of a row from others."""
        cells = (self.files, self.folders, self.urls, self.frames, self.series)
        return tuple(_text(c, i) for c in cells)


@dataclass(frozen=True)
class LoadDataReader:
    """Reads the image of a row.

    `channels` are by their names in the table, `functions` and `stains` belong to them; `doubled`
    are the names of two channels that have the same file in a row.
    """

    thread_safe: ClassVar[bool] = True
    table: Path
    channels: tuple[tuple[str, ChannelColumns], ...]
    functions: Mapping[str, ChannelColumns]
    mask: ChannelColumns | None
    stains: tuple[str, ...]
    pixel_sizes: list[float | None] | None
    doubled: Mapping[int, tuple[str, str]]
    choices: Choices

    @cached_property
    def _root(self) -> Path | str:
        """Folder or URL that relative paths begin at."""
        return self.choices.base or self.table.parent

    def __call__(self, i: int) -> Image:
        row = f"row {i + 1} of {self.table.name}"
        if i in self.doubled:
            first, second = self.doubled[i]
            raise DataError(f"{row} names one file for the channels {first} and {second}")
        parts, paths = [], []
        for name, columns in self.channels:
            path = columns.path(i, self._root, self.choices.moved)
            if path is None:
                raise DataError(f"{row} names no file for the channel {name}")
            part = self._corrected(self._read(path, columns.place(i), name), name, i)
            parts.append(part)
            paths.append(path)
        image = replace(join_channels(parts, paths), stains=self.stains)
        if self.pixel_sizes is not None and self.pixel_sizes[i] is not None:
            image = replace(image, pixel_size=self.pixel_sizes[i])
        path = None if self.mask is None else self.mask.path(i, self._root, self.choices.moved)
        return image if path is None else replace(image, mask=read_image(path).pixels[0])

    def files_of(self, i: int) -> list[str]:
        """Return the files of a row that are on this machine: channels, functions and mask."""
        root, moved, starts = self._root, self.choices.moved, self._starts
        found = [columns.local_path(i, root, moved, starts) for columns in self._all_columns]
        return [path for path in found if path is not None]

    @cached_property
    def _starts(self) -> dict[Any, str]:
        """What the paths of a folder begin with; empty for folders that need a closer look."""
        return {}

    @cached_property
    def _all_columns(self) -> list[ChannelColumns]:
        columns = [c for _, c in self.channels] + [
            c for name, _ in self.channels if (c := self.functions.get(name)) is not None
        ]
        return columns if self.mask is None else [*columns, self.mask]

    def _read(self, path: Path, place: tuple[int | None, int], name: str) -> Image:
        page, series = place
        if page is not None and path.suffix.lower() in SUFFIXES:
            with named_errors(path):
                return read_page(path, page, series)
        if page:
            raise ImageError(f"{path} has no page {page}: only TIFF files have several")
        image = read_image(path, axes=self.choices.axes, z=self.choices.z)
        if len(image.pixels) != 1:
            raise ImageError(
                f"{path} holds {len(image.pixels)} channels, but {self.table.name} names it for "
                f"the channel {name} alone: say which page it is in a column Frame_{name}"
            )
        return image

    def _corrected(self, image: Image, name: str, i: int) -> Image:
        """Divide by the illumination function of the channel, if there is one."""
        columns = self.functions.get(name)
        path = None if columns is None else columns.path(i, self._root, self.choices.moved)
        if path is None:
            return image
        function = _function(path)
        if function.shape != image.pixels.shape[1:]:
            raise ImageError(
                f"the illumination function {path} is {function.shape}, but the image of channel "
                f"{name} is {image.pixels.shape[1:]}"
            )
        divided = image.pixels / function
        if image.pixels.dtype == np.uint8:  # scaled by the range of its type
            return replace(image, pixels=np.rint(divided).clip(0, 255).astype(np.uint8))
        return replace(image, pixels=divided.astype(np.float32))


def _start(folder: str, root: Path | str, moved: Mapping[str, str]) -> str:
    """Return what the paths of a folder begin with; empty if that depends on their names."""
    beginning = f"{folder}/".casefold()
    below = any(old.replace("\\", "/").casefold().startswith(beginning) for old in moved)
    if not folder or below or not is_plain(folder):
        return ""
    found = local_file(f"{folder}/x", root, moved)
    return found.removesuffix("x") if found is not None and is_plain(found) else ""


@lru_cache(maxsize=_KEPT)
def _function(path: Path) -> NDArray[Any]:
    """Read an illumination function, `(H, W)` above 0: ``.npy``, ``.mat`` (``Image``), or TIFF."""
    if not path.is_file():
        raise ImageError(f"the illumination function {path} is missing")
    if path.suffix.lower() == ".mat":
        from scipy.io import loadmat

        try:
            found = loadmat(path)["Image"]
        except Exception as error:  # broken files raise any exception
            raise ImageError(f"{path} is no illumination function: {error}") from error
    else:
        found = read_image(path).pixels[0]
    if found.ndim != 2 or not np.isfinite(found).all() or not (found > 0).all():
        raise ImageError(
            f"the illumination function {path} is {found.shape} from {found.min()} to "
            f"{found.max()}, but must be rows and columns of numbers above 0"
        )
    return np.asarray(found, dtype=np.float64)


def _text(cells: list[Any] | None, i: int) -> str:
    if cells is None:
        return ""
    cell = cells[i]
    if isinstance(cell, str):  # first, for tables have millions of them
        return cell.strip()
    return "" if pd.isna(cell) else str(cell).strip()
