"""Label masks: which file belongs to which image, and what is in it."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from zoo.registry import DataError

from ..._images.read import SUFFIXES, read_image
from ..paths import locate
from ..tree import list_tree
from .objects import Objects, objects_of_mask

# Objects of one image, by its place in the source.
Find = Callable[[int], Objects]
_FIELD = re.compile(r"\{(\w+)\}")


def image_names(table: pd.DataFrame) -> list[str]:
    """Return what tells images apart in names of files: their own names without suffix."""
    if "image" not in table.columns:
        return [""] * len(table)
    return [_stem(str(name)) for name in table["image"]]


def _stem(name: str) -> str:
    """Return a path without the suffix of an image, as text with ``/``."""
    text = name.replace("\\", "/")
    for suffix in (*SUFFIXES, ".ome"):
        if text.lower().endswith(suffix):
            text = text[: -len(suffix)]
            if suffix not in (".tif", ".tiff"):
                break
    return text.removesuffix(".ome")


def find_in_masks(files: Sequence[Path | str], names: Sequence[str]) -> Find:
    """Find objects in mask files, one for each image; a text in place of a file says what is wrong.

    Parameters
    ----------
    files
        Masks by image.
    names
        Names of images in messages.
    """

    def find(i: int) -> Objects:
        file = files[i]
        if isinstance(file, str):
            raise DataError(file)
        labels = check_labels(read_image(file).pixels, str(file), names[i])
        return Objects(objects_of_mask(labels), (labels.shape[0], labels.shape[1]), file)

    return find


def check_labels(pixels: NDArray[Any], mask: str, image: str) -> NDArray[np.integer]:
    """Return a label mask, `(H, W)`.

    Raises
    ------
    DataError
        If it has several channels or fractions, or does not number its objects.
    """
    if len(pixels) != 1:
        raise DataError(f"the mask {mask} of {image} has {len(pixels)} channels, but must have one")
    labels = pixels[0]
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels % 1 == 0).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise DataError(
            f"the mask {mask} of {image} holds {labels.dtype} values from {labels.min():g}, but "
            "must number objects by integers, 0 for background"
        )
    highest = int(labels.max())
    if highest in (1, 255) and not ((labels != 0) & (labels != highest)).any():
        _, pieces = ndimage.label(labels, np.ones((3, 3)))
        if pieces > 1:
            raise DataError(
                f"the mask {mask} of {image} holds only 0 and {highest} in {pieces} pieces: number "
                "each object, as skimage.measure.label does"
            )
    return labels


def masks_in_folder(folder: Path, names: Sequence[str]) -> list[Path | str]:
    """Return the mask of each image in a folder of masks.

    A mask has the name of its image, or begins with it: ``A01_s1_nuclei.tif`` is that of
    ``A01_s1.ome.tif``.

    Raises
    ------
    DataError
        If the folder holds none, no mask fits any image, or two fit one.
    """
    files = [p for p in list_tree(folder).files if p.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(f"{folder} has no masks ({', '.join(SUFFIXES)})")
    wanted: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        wanted.setdefault(PurePosixPath(name).name, []).append(i)
    found: dict[int, list[Path]] = {}
    for path in files:
        for i in _image_of(path, wanted, names, folder):
            found.setdefault(i, []).append(path)
    if not found:
        raise DataError(
            f"no mask in {folder} has the name of an image, such as {names[0] or 'image 1'}: its "
            f"masks are called {files[0].name} and so on; say how with a pattern such as "
            f"'{folder}/{{well}}_s{{site}}.tif'"
        )
    masks: list[Path | str] = []
    for i, name in enumerate(names):
        own = found.get(i, [])
        exact = [p for p in own if PurePosixPath(_stem(p.name)).name == PurePosixPath(name).name]
        own = exact or own
        if len(own) > 1:
            raise DataError(
                f"{folder} has {len(own)} masks of {name}: {own[0].name}, {own[1].name}; choose "
                f"with a pattern such as '{folder}/{{image}}_nuclei.tif'"
            )
        masks.append(own[0].absolute() if own else f"{folder} has no mask of {name}")
    return masks


def _image_of(
    path: Path, wanted: Mapping[str, list[int]], names: Sequence[str], folder: Path
) -> list[int]:
    """Return the images that a mask may belong to: the longest name that it begins with."""
    stem = _stem(path.name)
    ends = [m.start() for m in re.finditer(r"(?<=[^\W_])(?=[\W_])", stem)]
    for end in (len(stem), *reversed(ends)):
        places = wanted.get(stem[:end], [])
        if len(places) > 1:  # the same name in several folders
            below = _stem(path.absolute().relative_to(folder.absolute()).as_posix())
            start = below[: len(below) - len(stem) + end]
            places = [i for i in places if names[i] == start] or places
        if places:
            return places
    return []


def masks_by_pattern(pattern: str, table: pd.DataFrame) -> list[Path | str]:
    """Return the mask of each image by a pattern of fields ``{image}``, ``{well}`` and so on.

    Raises
    ------
    DataError
        If a field is none, or no mask is there.
    """
    fields = {str(c).removeprefix("Metadata_").casefold(): table[c].tolist() for c in table.columns}
    fields["image"] = [PurePosixPath(name).name for name in image_names(table)]
    strange = [f for f in _FIELD.findall(pattern) if f.casefold() not in fields]
    if strange:
        raise DataError(
            f"the pattern {pattern} has a field {{{strange[0]}}}, but the images have only "
            f"{', '.join(f'{{{f}}}' for f in fields)}"
        )
    parts = _FIELD.split(pattern)  # names of fields stand between the texts
    paths = []
    for i in range(len(table)):
        filled = [str(fields[p.casefold()][i]) if k % 2 else p for k, p in enumerate(parts)]
        paths.append(Path("".join(filled)).absolute())
    there = [path.is_file() for path in paths]
    if not any(there):
        raise DataError(f"the pattern {pattern} names no file that is there, such as {paths[0]}")
    return [p if ok else f"the mask {p} is missing" for p, ok in zip(paths, there, strict=True)]


def masks_of_column(
    values: Sequence[Any], folder: Path | str, moved: Mapping[str, str]
) -> list[Path | str]:
    """Return the mask of each image from a column of a table, with paths relative to the table."""
    masks: list[Path | str] = []
    for i, value in enumerate(values):
        text = "" if pd.isna(value) else str(value).strip()
        masks.append(locate(text, folder, moved) if text else f"row {i + 1} names no mask")
    return masks
