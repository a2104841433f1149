"""Folders of images as machine learning keeps them: classes, and tables of metadata."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from zoo.registry import DataError

from .choices import Choices
from .dataset import Dataset
from .files import FileReader
from .source import Source
from .tables import read_table
from .tree import Tree

_TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "file_name"
SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")


def open_image_folder(tree: Tree, choices: Choices) -> Source | None:
    """Open a Hugging Face image folder: ``metadata.csv`` or ``.jsonl`` with ``file_name``.

    None if the folder has no such table.

    Raises
    ------
    DataError
        If a table cannot be read.
    """
    found = []
    for path in tree.files:
        # Beside the images, or one for each split.
        if path.name.casefold() in _TABLES and tree.relative(path).count("/") < 2:
            table = _read_lines(path) if path.suffix.lower() == ".jsonl" else read_table(path)
            if _FILE in table.columns and len(table):
                found.append((path, table))
    if not found:
        return None
    parts, paths = [], []
    for path, table in found:
        names = table[_FILE].map(str).tolist()
        paths += [path.parent / name.replace("\\", "/") for name in names]
        whole = [tree.relative(path.parent / name) for name in names]
        part = table.drop(columns=_FILE)
        part.insert(0, "image", whole)
        folder = tree.relative(path.parent).split("/")[0] if path.parent != tree.folder else ""
        if len(found) > 1 and "split" not in part:
            part.insert(1, "split", folder)
        parts.append(part)
    listed = {str(p) for p in paths}
    unlisted = [tree.relative(p) for p in tree.images if str(p) not in listed]
    return Source(
        f"an image folder with {', '.join(tree.relative(p) for p, _ in found)}",
        Dataset(
            tree.folder.resolve().name,
            pd.concat(parts, ignore_index=True),
            FileReader(paths, choices.axes, choices.z),
        ),
        left_out={"images that the table does not name": unlisted} if unlisted else {},
    )


def class_columns(names: list[str]) -> dict[str, list[str]]:
    """Return the columns of images in folders of classes, ``class/a.png`` or ``train/class/a.png``.

    Empty if the images are not all in folders of one depth, or all in one folder.
    """
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    depths = {len(parts) for parts in folders}
    if len(set(folders)) < 2 or depths - {1, 2} or len(depths) > 1:
        return {}
    if depths == {1}:
        return {"label": [parts[0] for parts in folders]}
    if {parts[0].casefold() for parts in folders} <= set(SPLITS):
        return {"split": [p[0] for p in folders], "label": [p[1] for p in folders]}
    return {}


def _read_lines(path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"line {number} of {path} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"line {number} of {path} is no JSON object")
            rows.append(row)
    return pd.DataFrame(rows)
