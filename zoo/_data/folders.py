"""Folders: what they are taken for."""

from pathlib import Path

from zoo.registry import DataError

from .._images.read import SUFFIXES
from .choices import Choices
from .files import open_files
from .image_table import open_table
from .plates.detect import open_export
from .source import Source
from .tree import list_tree


def open_folder(folder: Path, choices: Choices) -> Source:
    """Open a folder by its ``labels.csv``, as a plate microscope's export, or by its images.

    Raises
    ------
    DataError
        If it holds no images, or they cannot be told apart.
    """
    if (folder / "labels.csv").is_file() and choices.pattern is None:
        return open_table(folder / "labels.csv", choices)
    tree = list_tree(folder)
    export = open_export(tree, choices)
    if export is not None:
        return export
    if not tree.images:
        raise DataError(f"{folder} has no images: no labels.csv and no {', '.join(SUFFIXES)}")
    names = [tree.relative(p) for p in tree.images]
    return open_files(folder.resolve().name, names, tree.images, choices)
