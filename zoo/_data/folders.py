"""Folders: what they are taken for."""

from dataclasses import replace
from pathlib import Path

from zoo.registry import DataError

from .._images.read import BIOIO, SUFFIXES
from .bioio_images import open_scenes
from .choices import Choices
from .files import open_files
from .image_folders import class_columns, open_image_folder
from .image_table import open_table
from .plates.detect import open_export
from .slides import open_slides
from .source import Source
from .tree import KINDS, Tree, list_tree
from .zarr_images import open_zarrs

# Ends of tables, indexes and settings, which are read or belong to those that are.
_SETTINGS = {
    *(".csv", ".tsv", ".parquet", ".json", ".jsonl", ".xml"),
    *(".htd", ".mlf", ".mrf", ".mes", ".wpi", ".wpp", ".icr"),
}
_OTHERS = "files that are no images"
_ZARRS = "Zarr images beside other images; open them by their own paths"
_SLIDES = "whole slides beside other images; open them by their own paths"


def open_folder(folder: Path, choices: Choices) -> Source:
    """Open a folder.

    It is taken for the first of these that it is: a table ``labels.csv``, a Hugging Face
    image folder, a plate microscope's export, images.

    Raises
    ------
    DataError
        If it holds no images, or they cannot be told apart.
    """
    if (folder / "labels.csv").is_file() and choices.pattern is None:
        return open_table(folder / "labels.csv", choices)
    tree = list_tree(folder)
    if tree.zarrs and (not tree.images or tree.zarrs == [tree.folder]):
        return open_zarrs(tree.zarrs, tree.folder, choices)
    if tree.slides and not tree.images:
        names = [tree.relative(p) for p in tree.slides]
        return open_slides(tree.folder.resolve().name, tree.slides, names, choices)
    found = open_image_folder(tree, choices) if choices.pattern is None else None
    found = found or open_export(tree, choices) or _open_files(tree, choices)
    if tree.slides:
        found.left_out[_SLIDES] = [tree.relative(p) for p in tree.slides]
    if tree.zarrs:
        found.left_out[_ZARRS] = [tree.relative(p) for p in tree.zarrs]
    others = [tree.relative(p) for p in tree.files if p.suffix.lower() not in KINDS | _SETTINGS]
    if others:
        found.left_out[_OTHERS] = others
    return found


def _open_files(tree: Tree, choices: Choices) -> Source:
    if not tree.images:
        raise DataError(f"{tree.folder} has no images: no labels.csv and no {', '.join(SUFFIXES)}")
    if all(p.suffix.lower() in BIOIO for p in tree.images):
        names = [tree.relative(p) for p in tree.images]
        return open_scenes(tree.folder.resolve().name, tree.images, names, choices)
    names = [tree.relative(p) for p in tree.images]
    classes = class_columns(names)
    source = open_files(tree.folder.resolve().name, names, tree.images, choices, classes)
    return replace(source, kind="image files in folders of classes") if classes else source
