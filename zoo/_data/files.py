"""Image files, one image in each."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .._images.image import Image
from .._images.projection import Z
from .._images.read import read_image
from .choices import Choices
from .dataset import Dataset
from .source import Source


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
    table = pd.DataFrame({"image": names})
    kind = "one image file" if len(paths) == 1 else "image files, one image in each"
    return Source(kind, Dataset(name, table, FileReader(paths, choices.axes, choices.z)))
