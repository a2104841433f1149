"""Open datasets by name, and your own tables, folders and files."""

from pathlib import Path
from typing import Any

import pandas as pd

from zoo.registry import DataError, registry, resolve_target

from .._images.image import Image
from .._images.read import SUFFIXES, read_image
from .dataset import Dataset

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
_IMAGE_COLUMNS = ("image", "image_path")
_STAIN_COLUMNS = ("stains", "channels")


def load_dataset(name: str, path: str | Path | None = None) -> Dataset:
    """Open a dataset by its name in the registry.

    Parameters
    ----------
    name
        A name from `list_datasets`.
    path
        Its folder, if it is not in the default place.

    Raises
    ------
    UnknownNameError
        With near names.
    DataError
        When it is missing or incomplete.

    Examples
    --------
    >>> data = zoo.load_dataset("phantom")
    >>> len(data), data[0].pixels.shape[0]
    (96, 2)
    """
    spec = registry().dataset(name)
    dataset = resolve_target(spec.builder)(spec, path=None if path is None else Path(path))
    if not isinstance(dataset, Dataset):
        raise DataError(f"{spec.builder} returned {dataset!r}, which is not a zoo.Dataset")
    return dataset


def open_images(source: Any) -> Dataset:
    """Open a table of files, a folder of images, image files, or images in memory.

    A table (CSV, TSV, Parquet) has a column ``image`` (or ``image_path``) of paths relative to the
    table, one per image or one per channel separated by ``|``; or columns ``image_STAIN``, one for
    each channel, empty if an image lacks it. A column ``stains`` or ``channels`` names channels,
    separated by ``|``. All other columns are metadata. A folder with a ``labels.csv`` is read as
    that table.

    Parameters
    ----------
    source
        A path; a sequence of paths of image files; an array `(C, H, W)` or `(B, C, H, W)`, an
        `Image`, or a sequence of these.

    Raises
    ------
    DataError
        When nothing is found, or the table has no image column.
    TypeError
        For anything else.

    Examples
    --------
    >>> import numpy as np
    >>> data = zoo.open_images([zoo.Image(np.zeros((2, 8, 8)), stains=("DNA", "ER"))])
    >>> len(data), data[0].stains
    (1, ('DNA', 'ER'))
    """
    if not isinstance(source, str | Path):
        return _open_several(source)
    source = Path(source).expanduser()
    if source.is_dir():
        if (source / "labels.csv").is_file():
            return _open_table(source / "labels.csv")
        paths = sorted(
            p
            for p in source.rglob("*")
            if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
        )
        if not paths:
            raise DataError(f"{source} has no images: no labels.csv and no {', '.join(SUFFIXES)}")
        names = [str(p.relative_to(source)) for p in paths]
        return _of_files(source.resolve().name, names, paths)
    if not source.exists():
        raise DataError(f"{source} does not exist")
    if source.suffix.lower() in TABLE_SUFFIXES:
        return _open_table(source)
    return _of_files(source.stem, [source.name], [source])


def _open_several(source: Any) -> Dataset:
    """Make a dataset of images in memory, or of several files."""
    whole = isinstance(source, Image) or getattr(source, "ndim", None) in (2, 3)
    members = [source] if whole else list(source) if hasattr(source, "__iter__") else [source]
    if not members:
        raise DataError("there are no images")
    if all(isinstance(m, str | Path) for m in members):
        return _of_files("images", [str(m) for m in members], [Path(m) for m in members])
    for i, member in enumerate(members):
        if not isinstance(member, Image) and not hasattr(member, "ndim"):
            raise TypeError(
                f"image {i} is {member!r}: give paths, or arrays (channels, height, width) and "
                "zoo.Image, not a mixture"
            )
    images = [m if isinstance(m, Image) else Image(m) for m in members]
    names = [f"image {i}" for i in range(len(images))]
    return Dataset("images", pd.DataFrame({"image": names}), images.__getitem__)


def _of_files(name: str, names: list[str], paths: list[Path]) -> Dataset:
    return Dataset(name, pd.DataFrame({"image": names}), lambda i: read_image(paths[i]))


def _open_table(path: Path) -> Dataset:
    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path)
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            table = pd.read_csv(path, sep=separator)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise DataError(
            f"{path} is not a readable table: {reason[0] if reason else error}"
        ) from error
    table.columns = table.columns.map(str)
    whole = next((c for c in _IMAGE_COLUMNS if c in table.columns), None)
    numbers = set(table.select_dtypes("number").columns)
    per_stain = [c for c in table.columns if c.startswith("image_") and c not in numbers]
    if whole is None and not per_stain:
        raise DataError(
            f"{path} has neither a column 'image' nor columns such as 'image_DNA'; "
            f"its columns are {', '.join(map(str, table.columns))}"
        )
    named = next((c for c in _STAIN_COLUMNS if c in table.columns), None)
    files: list[list[Path]] = []
    stains: list[tuple[str, ...] | None] = []
    for _, row in table.iterrows():
        if whole is not None:
            given = [] if pd.isna(row[whole]) else str(row[whole]).split("|")
            names = None
            if named is not None and isinstance(row[named], str):
                names = tuple(part.strip() for part in row[named].split("|"))
        else:
            present = [c for c in per_stain if not pd.isna(row[c]) and str(row[c]).strip()]
            given = [str(row[c]) for c in present]
            names = tuple(c.removeprefix("image_") for c in present)
        files.append([path.parent / part.strip() for part in given])
        stains.append(names)

    def read(i: int) -> Image:
        if not files[i]:
            raise DataError(f"row {i + 1} of {path.name} names no file")
        image = read_image(files[i][0] if len(files[i]) == 1 else files[i])
        names = stains[i]
        if names is None:
            return image
        if len(names) != len(image.pixels):
            raise DataError(
                f"{' | '.join(p.name for p in files[i])} has {len(image.pixels)} channel(s), "
                f"but row {i + 1} of {path.name} names {len(names)}: {', '.join(names)}"
            )
        return Image(image.pixels, names, image.pixel_size)

    name = path.stem if path.stem != "labels" else path.parent.resolve().name
    return Dataset(name, table, read)
