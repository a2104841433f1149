"""All files of a folder, listed once."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .._images.read import ARRAY_SUFFIXES, BIOIO, SUFFIXES
from .slides import SUFFIXES as SLIDES

# Ends of files that are images, or would be with a library of their own.
KINDS = frozenset((*SUFFIXES, *BIOIO, *SLIDES))
_ZARR_FILES = {"zarr.json", ".zgroup", ".zarray", ".zattrs"}


@dataclass(frozen=True)
class Tree:
    """Files below a folder in order, without hidden ones; Zarr folders are not entered.

    Parameters
    ----------
    folder
        The folder.
    files
        Paths of files.
    zarrs
        Paths of Zarr groups and arrays.
    """

    folder: Path
    files: list[Path]
    zarrs: list[Path]

    @cached_property
    def images(self) -> list[Path]:
        """Files that may be images; arrays only where there are no pictures."""
        found = [p for p in self.files if p.suffix.lower() in KINDS - set(SLIDES)]
        pictures = [p for p in found if p.suffix.lower() not in ARRAY_SUFFIXES]
        return pictures or found

    @cached_property
    def slides(self) -> list[Path]:
        """Whole slides."""
        return [p for p in self.files if p.suffix.lower() in SLIDES]

    def named(self, name: str) -> list[Path]:
        """Return the files of a name, in any case of letters."""
        return [p for p in self.files if p.name.casefold() == name.casefold()]

    def relative(self, path: Path) -> str:
        """Return a path as text from the folder on."""
        start = len(str(self.folder)) + 1
        return str(path)[start:].replace(os.sep, "/")


def list_tree(folder: Path) -> Tree:
    """List a folder, which is named in full so that paths have the same beginning."""
    folder = folder.absolute()
    files: list[Path] = []
    zarrs: list[Path] = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if _ZARR_FILES & set(names):
            zarrs.append(here)
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        files += [here / n for n in names if not n.startswith(".")]
    return Tree(folder, sorted(files), sorted(zarrs))
