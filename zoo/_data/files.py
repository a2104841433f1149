"""Image files, one image in each."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .._images.image import Image
from .._images.projection import Z
from .._images.read import read_image
from .choices import Choices
from .dataset import Dataset
from .plates.names import canonical_number
from .source import Source

_POSITION = re.compile(
    r"(?:.*[_/-])?(?P<well>[A-P]\d{2})(?:[_-](?:s|site|f|field)_?(?P<site>\d+))?(?:\.\w+){1,2}"
)


@dataclass(frozen=True)
class FileReader:
    """Reads one file for each image."""

    paths: list[Path]
    axes: str | None
    z: Z

    def __call__(self, i: int) -> Image:
        return read_image(self.paths[i], axes=self.axes, z=self.z)


def open_files(name: str, names: list[str], paths: list[Path], choices: Choices) -> Source:
    """Make a source of image files; `names` go into the table."""
    table = pd.DataFrame({"image": names, **_positions(names)})
    kind = "one image file" if len(paths) == 1 else "image files, one image in each"
    return Source(kind, Dataset(name, table, FileReader(paths, choices.axes, choices.z)))


def _positions(names: list[str]) -> dict[str, list[str]]:
    """Return columns of wells and sites, if every name ends with them, such as ``A01_s1.tif``."""
    found = [_POSITION.fullmatch(name) for name in names]
    columns: dict[str, list[str]] = {}
    for column, part in (("Metadata_Well", "well"), ("Metadata_Site", "site")):
        values = [match[part] for match in found if match and match[part]]
        if len(values) == len(names):
            columns[column] = [canonical_number(value) for value in values]
    return columns
