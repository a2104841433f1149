"""Folders: what they are taken for."""

from pathlib import Path

from zoo.registry import DataError

from .._images.read import SUFFIXES
from .choices import Choices
from .files import open_files
from .image_table import open_table
from .source import Source


def open_folder(folder: Path, choices: Choices) -> Source:
    """Open a folder by its ``labels.csv``, or by the images in it.

    Raises
    ------
    DataError
        If it holds no images.
    """
    if (folder / "labels.csv").is_file():
        return open_table(folder / "labels.csv", choices)
    paths = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
    if not paths:
        raise DataError(f"{folder} has no images: no labels.csv and no {', '.join(SUFFIXES)}")
    names = [str(p.relative_to(folder)) for p in paths]
    return open_files(folder.resolve().name, names, paths, choices)
