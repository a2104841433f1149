"""Datasets by name, and tables, folders and files of one's own."""

from pathlib import Path

import pandas as pd

from zoo.registry import DataError, registry, resolve_target

from .._images.image import Image
from .._images.read import SUFFIXES, read_image
from .dataset import Dataset

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
_IMAGE_COLUMNS = ("image", "image_path")
_STAIN_COLUMNS = ("stains", "channels")


def open_dataset(name: str, path: str | Path | None = None) -> Dataset:
    """Open a dataset of the registry, at `path` where it is not where it usually is."""
    spec = registry().dataset(name)
    dataset = resolve_target(spec.builder)(spec, path=None if path is None else Path(path))
    if not isinstance(dataset, Dataset):
        raise DataError(f"{spec.builder} gave {dataset!r}, which is no zoo.Dataset")
    return dataset


def open_source(source: str | Path) -> Dataset:
    """Open a table of files, a folder of images (or one with a ``labels.csv``), or one image.

    A table (CSV, TSV, Parquet) has a column ``image`` (or ``image_path``) with a path relative to
    the table, several separated by ``|`` where each channel has its file; or columns
    ``image_STAIN``, one for each channel, empty where an image lacks it. A column ``stains`` or
    ``channels`` names channels, separated by ``|``. Everything else is metadata.

    Raises
    ------
    DataError
        When there is nothing there, or the table has no image column.
    """
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
        name = source.resolve().name
        return Dataset(name, pd.DataFrame({"image": names}), lambda i: read_image(paths[i]))
    if not source.exists():
        raise DataError(f"{source} does not exist")
    if source.suffix.lower() in TABLE_SUFFIXES:
        return _open_table(source)
    return Dataset(
        source.stem, pd.DataFrame({"image": [source.name]}), lambda _: read_image(source)
    )


def _open_table(path: Path) -> Dataset:
    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path)
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            table = pd.read_csv(path, sep=separator)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise DataError(f"{path} is no readable table: {reason[0] if reason else error}") from error
    table.columns = table.columns.map(str)
    whole = next((c for c in _IMAGE_COLUMNS if c in table.columns), None)
    numbers = set(table.select_dtypes("number").columns)
    per_stain = [c for c in table.columns if c.startswith("image_") and c not in numbers]
    if whole is None and not per_stain:
        raise DataError(
            f"{path} has no column 'image' and none such as 'image_DNA'; "
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
