"""Image files: one image in each, or several arrays in one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from zoo.registry import DataError

from .._images.image import Image
from .._images.projection import Z
from .._images.read import ARRAY_SUFFIXES, as_planes, named_errors, read_image
from .._images.tiff import read_tiff
from .choices import Choices
from .dataset import Dataset
from .ome_sets import ome_items
from .positions import positions_of_names
from .source import Source

PARTS = "files of OME-TIFF images that are spread over several files, each counted once"
_MISSING = "images that an OME-TIFF file lists and that are not there"


@dataclass(frozen=True)
class FileReader:
    """Reads one file for each image."""

    thread_safe: ClassVar[bool] = True
    paths: list[Path]
    axes: str | None
    z: Z
    # Of files that hold several images, which one.
    scenes: list[tuple[int, int] | None] | None = None

    def __call__(self, i: int) -> Image:
        path, scene = self.paths[i], self.scenes[i] if self.scenes else None
        if scene is None:
            return read_image(path, axes=self.axes, z=self.z)
        with named_errors(path):
            return read_tiff(path, axes=self.axes, z=self.z, scene=scene)

    def files_of(self, i: int) -> list[Path]:
        """Return the file of an image."""
        return [self.paths[i]]


@dataclass(frozen=True)
class ArrayReader:
    """Reads images of one file: the first axis of an array, or the arrays of an archive."""

    thread_safe: ClassVar[bool] = True
    path: Path
    names: list[str] | None
    choices: Choices

    def __call__(self, i: int) -> Image:
        name = f"image {i + 1} of {self.path}"
        if self.names is None:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)[i]
        else:
            with np.load(self.path, allow_pickle=False) as archive:
                array = archive[self.names[i]]
        return Image(as_planes(np.array(array), name, self.choices.axes, self.choices.z))

    def files_of(self, _i: int) -> list[Path]:
        """Return the one file."""
        return [self.path]


def open_files(
    name: str,
    names: list[str],
    paths: list[Path],
    choices: Choices,
    columns: dict[str, list[str]] | None = None,
) -> Source:
    """Make a source of image files; `names` and `columns` go into the table.

    Raises
    ------
    DataError
        If a file of an OME-TIFF set is described elsewhere.
    """
    found = ome_items(paths)
    by_path = dict(zip(paths, names, strict=True))
    images = found.items
    labels = [by_path[i.path] + (f" {i.name}" if i.scene else "") for i in images]
    own = {path: k for k, path in enumerate(paths)}
    table: dict[str, Any] = {"image": list(labels)}
    for column, values in (columns or {}).items():
        table[column] = [values[own[i.path]] for i in images]
    for part in ("plate", "well", "site"):
        said = [getattr(image, part) for image in images]
        if any(said):
            table[f"Metadata_{part.capitalize()}"] = said
    if "Metadata_Well" not in table:
        table.update(positions_of_names([by_path[i.path] for i in images]))
    scenes = [i.scene for i in images] if any(i.scene for i in images) else None
    reader = FileReader([i.path for i in images], choices.axes, choices.z, scenes)
    kind = "one image file" if len(images) == 1 else "image files, one image in each"
    if scenes is not None:
        kind = "OME-TIFF files of several images"
    left_out = {PARTS: [by_path[p] for p in found.parts], _MISSING: found.missing}
    return Source(
        kind,
        Dataset(name, pd.DataFrame(table), reader),
        left_out={reason: files for reason, files in left_out.items() if files},
    )


def open_file(path: Path, choices: Choices) -> Source:
    """Open one file, which holds several images if it is an array `(B, C, H, W)` or an archive.

    Raises
    ------
    DataError
        If arrays cannot be read.
    """
    if path.suffix.lower() not in ARRAY_SUFFIXES or choices.axes is not None:
        return open_files(path.stem, [path.name], [path], choices)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        shape = found.shape if isinstance(found, np.ndarray) else None
        members = None if isinstance(found, np.ndarray) else _members(found)
    except Exception as error:  # broken files raise any exception
        reason = str(error).strip().splitlines() or [repr(error)]
        raise DataError(f"{path} cannot be read ({reason[0]}); is it truncated?") from error
    if shape is not None and len(shape) == 4:
        labels = [f"{path.name} {i + 1}" for i in range(shape[0])]
        return _of_arrays(path, labels, None, choices)
    if members is not None and len(members) > 1:
        return _of_arrays(path, members, members, choices)
    return open_files(path.stem, [path.name], [path], choices)


def _members(archive: Any) -> list[str]:
    with archive:
        return list(archive.files)


def _of_arrays(path: Path, labels: list[str], names: list[str] | None, choices: Choices) -> Source:
    kind = "an archive of arrays, one image in each" if names else "an array of images"
    table = pd.DataFrame({"image": labels})
    return Source(kind, Dataset(path.stem, table, ArrayReader(path, names, choices)))
