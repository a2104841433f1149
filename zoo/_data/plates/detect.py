"""Which instrument wrote a folder."""

from zoo.registry import DataError

from ..choices import Choices
from ..source import Source
from ..tree import Tree
from . import cellomics, harmony, imagexpress, in_cell, incucyte, scanr, yokogawa
from .grouping import group
from .own_pattern import EXAMPLE, planes_by_pattern
from .plane import Export, Finder
from .suspect import looks_split

FINDERS: tuple[Finder, ...] = (
    harmony.find,
    yokogawa.find,
    imagexpress.find,
    scanr.find,
    incucyte.find,
    in_cell.find,
    cellomics.find,
)


def open_export(tree: Tree, choices: Choices) -> Source | None:
    """Return the images of a plate microscope's export, or of files named by the user's pattern.

    None if the folder looks like neither.

    Raises
    ------
    DataError
        If several instruments wrote the folder, its files cannot be grouped to images, or its
        names look like one file for each channel and no format knows them.
    """
    if choices.pattern is not None:
        return group(planes_by_pattern(tree, choices.pattern), tree, choices)
    found = [export for find in FINDERS if (export := find(tree)) is not None]
    if len(found) > 1:
        raise DataError(
            f"{tree.folder} holds exports of several kinds ({_kinds(found)}): open one of their "
            "folders"
        )
    if found:
        return group(found[0], tree, choices)
    split = looks_split([tree.relative(p) for p in tree.images])
    if split:
        raise DataError(
            f"{tree.folder} seems to hold one file for each channel ({', '.join(split[:3])}), in "
            f"no known format: say what the names mean with pattern= (--pattern), such as "
            f"{EXAMPLE}, or '{{name}}.tif' if each file is an image of its own"
        )
    return None


def _kinds(found: list[Export]) -> str:
    return ", ".join(f"{e.kind}: {len(e.planes)} files" for e in found)
