"""Open datasets by name, and your own tables, folders and files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.registry import DataError, registry, resolve_target

from .._images.image import Image
from .._images.read import BIOIO
from .bioio_images import open_scenes
from .choices import Choices
from .crops.choice import Edge, make_crops
from .crops.source import with_crops
from .dataset import Dataset
from .files import open_file, open_files
from .folders import open_folder
from .image_table import open_table
from .remote import is_remote, local_copy
from .slides import SUFFIXES as SLIDES
from .slides import open_slides
from .source import Source, with_choices
from .tables import TABLE_SUFFIXES


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


def open_images(
    source: Any,
    *,
    pattern: str | None = None,
    z: str | int | None = None,
    axes: str | None = None,
    paths: Mapping[str, str] | None = None,
    stains: Mapping[str, str] | None = None,
    channels: Sequence[str] = (),
    pixel_size: float | None = None,
    tile: int = 224,
    tile_pixel_size: float = 0.5,
    tissue: float = 0.25,
    tile_stride: int | None = None,
    crops: str | Path | None = None,
    crop_size: int | str | None = None,
    crop_stride: int | str | None = None,
    edge: Edge | None = None,
) -> Dataset:
    """Open a table of files, a folder, a plate's export, image files, or images in memory.

    A table (CSV, TSV, Parquet) has a column ``image`` (or ``image_path``) of paths relative to the
    table, one per image or one per channel separated by ``|``; or columns ``image_STAIN``, one for
    each channel, empty if an image lacks it. A column ``stains`` or ``channels`` names channels,
    separated by ``|``. All other columns are metadata; those called ``Metadata_*`` are text. A
    table with columns such as ``FileName_DNA`` is a LoadData table of CellProfiler.

    A folder with a ``labels.csv`` is read as that table. The export of a plate microscope is
    grouped to images by plate, well, site and time, so that files of one channel are channels.
    Other folders hold one image in each file; folders in it that name classes become the column
    ``label``. `zoo sources PATH` on the command line says what a path is taken for.

    Parameters
    ----------
    source
        A path, or the URL of a file; a sequence of paths of image files; an array `(C, H, W)` or
        `(B, C, H, W)`, an `Image`, or a sequence of these.
    pattern
        How files are named that hold one channel each, such as
        ``"{plate}_{well}_s{site}_w{channel}.tif"``. Fields are plate, well, row, column, site,
        channel, z, time, name, and * for what does not matter; without channel a file is an image.
    z
        How depth becomes one plane: ``"max"``, ``"mean"``, ``"middle"``, or its number from 1.
    axes
        The stored axes of stacks that do not name theirs, as for `read_image`.
    paths
        New beginnings of the paths in a table, by old ones: ``{"/lab/plates": "/data"}``.
    stains
        Names of stains by the names that the source gives: ``{"HOECHST 33342": "DNA"}``.
    channels
        The stains to keep, in this order; all by default.
    pixel_size
        Micrometres per pixel, instead of what the files say.
    tile, tile_pixel_size
        Side in pixels, and micrometres per pixel, of the tiles of whole slides.
    tissue
        Smallest share of tissue in a tile that is kept, from 0 to 1.
    tile_stride
        Pixels from one tile of a slide to the next, by default `tile`; less makes them overlap.
    crops
        What items are, instead of whole images: crops around the objects of label masks (a folder
        of masks, a pattern such as ``"masks/{image}_nuclei.tif"``, a column that names them, or
        ``"objects"`` for those of a LoadData table), around centroids (a table or database of
        CellProfiler, a folder of DeepProfiler's locations), around ``"nuclei"`` found by a
        threshold or cells found by ``"cellpose"``; or ``"tiles"``.
    crop_size
        Side of a crop in pixels, or such as ``"40um"``.
    crop_stride
        From one of the ``"tiles"`` to the next, likewise; by default `crop_size`.
    edge
        What becomes of a crop that reaches beyond its image: ``"drop"``, the default, leaves it
        out, ``"shift"`` moves it into the image, ``"pad"`` fills it with 0.

    Raises
    ------
    DataError
        When nothing is found, the table has no image column, or files cannot be grouped to images.
    MissingExtraError
        For what needs a package that is not installed: Parquet, Zarr, whole slides, URLs.
    TypeError
        For anything else.
    ValueError
        For an option that has none of the accepted values.

    Examples
    --------
    >>> import numpy as np
    >>> data = zoo.open_images([zoo.Image(np.zeros((2, 8, 8)), stains=("DNA", "ER"))])
    >>> len(data), data[0].stains
    (1, ('DNA', 'ER'))

    >>> import pathlib, tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for stain in ("DNA", "ER"):
    ...         path = pathlib.Path(folder, f"P1 B02 {stain}.tif")
    ...         tifffile.imwrite(path, np.zeros((8, 8), np.uint8))
    ...     plate = zoo.open_images(folder, pattern="{plate} {well} {channel}.tif")
    ...     print(plate[0].pixels.shape, plate[0].stains)
    (2, 8, 8) ('DNA', 'ER')
    >>> plate.metadata["Metadata_Well"].tolist()
    ['B02']
    """
    choices = Choices(
        pattern=pattern,
        z=z,
        axes=axes,
        moved=dict(paths or {}),
        stains=dict(stains or {}),
        channels=channels if isinstance(channels, str) else tuple(channels),  # type: ignore[arg-type]
        pixel_size=pixel_size,
        tile=tile,
        tile_pixel_size=tile_pixel_size,
        tissue=tissue,
        tile_stride=tile_stride,
        crops=make_crops(crops, crop_size, crop_stride, edge),
    )
    return open_source(source, choices).dataset


def open_source(source: Any, choices: Choices | None = None) -> Source:
    """Open what `open_images` takes, and say what it was taken for."""
    choices = choices or Choices()
    folder: Path | str = Path()
    if isinstance(source, str) and is_remote(source):
        folder = source.rpartition("/")[0]
        choices = replace(choices, base=folder)
        found = _open_path(local_copy(source), choices)
    elif isinstance(source, str | Path):
        path = Path(source).expanduser()
        folder = path if path.is_dir() else path.parent
        found = _open_path(path, choices)
    else:
        found = _open_several(source, choices)
    found = with_choices(found, choices)
    if choices.crops is None:
        return found
    return with_crops(found, choices.crops, choices, folder)


def _open_path(path: Path, choices: Choices) -> Source:
    if path.is_dir():
        return open_folder(path, choices)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if path.suffix.lower() in TABLE_SUFFIXES:
        return open_table(path, choices)
    if path.suffix.lower() in SLIDES:
        return open_slides(path.stem, [path], [path.name], choices)
    if path.suffix.lower() in BIOIO:
        return open_scenes(path.stem, [path], [path.name], choices)
    return open_file(path, choices)


def _open_several(source: Any, choices: Choices) -> Source:
    """Make a source of images in memory, or of several files."""
    whole = isinstance(source, Image) or getattr(source, "ndim", None) in (2, 3)
    members = [source] if whole else list(source) if hasattr(source, "__iter__") else [source]
    if not members:
        raise DataError("there are no images")
    if all(isinstance(m, str | Path) for m in members):
        return open_files("images", [str(m) for m in members], [Path(m) for m in members], choices)
    for i, member in enumerate(members):
        if not isinstance(member, Image) and not hasattr(member, "ndim"):
            raise TypeError(
                f"image {i} is {member!r}: give paths, or arrays (channels, height, width) and "
                "zoo.Image, not a mixture"
            )
    images = [m if isinstance(m, Image) else Image(m) for m in members]
    names = [f"image {i}" for i in range(len(images))]
    return Source(
        "images in memory",
        Dataset("images", pd.DataFrame({"image": names}), images.__getitem__),
    )
