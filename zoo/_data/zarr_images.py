"""OME-Zarr images and plates, and plain Zarr arrays, read by zarr."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from numpy.typing import NDArray

from zoo.registry import DataError, ImageError, MissingExtraError

from .._images.image import Image
from .._images.projection import needed
from .._images.read import as_planes
from .._images.stack_axes import to_image
from .choices import Choices
from .dataset import Dataset
from .positions import positions_of_names
from .source import Source
from .zarr_walk import ZarrImage, walk


@dataclass(frozen=True)
class ZarrReader:
    """Reads one image from its array of full size."""

    thread_safe: ClassVar[bool] = True
    images: list[ZarrImage]
    choices: Choices

    def __call__(self, i: int) -> Image:
        import zarr

        image = self.images[i]
        try:
            array = zarr.open_array(image.array, mode="r")
            pixels = self._read(array, image)
        except ImageError:
            raise
        except Exception as error:  # codecs raise any exception on broken chunks
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise ImageError(f"{image.array} cannot be read ({reason})") from error
        stains = image.stains if image.stains and len(image.stains) == len(pixels) else None
        return Image(pixels, stains, image.pixel_size)

    def _read(self, array: Any, image: ZarrImage) -> NDArray[Any]:
        z, name = self.choices.z, str(image.array)
        axes = self.choices.axes or image.axes
        if image.member is not None and self.choices.axes is None:
            read = array[image.member]
            _check_chunks(array, read, name)
            return as_planes(read, name, None, z)
        if axes is None:
            read = array[...]
            _check_chunks(array, read, name)
            return as_planes(read, name, None, z)
        part: list[slice] = [slice(None)] * array.ndim
        if len(axes) == array.ndim and "Z" in axes.upper() and z is not None:
            depth = axes.upper().index("Z")
            wanted = needed(array.shape[depth], z, name)
            if len(wanted) == 1 and array.shape[depth] > 1:
                part[depth], z = slice(wanted[0], wanted[0] + 1), None
        read = array[tuple(part)]
        _check_chunks(array, read, name)
        if self.choices.axes is not None:
            return to_image(read, "Q" * read.ndim, name, given=axes, z=z)
        return to_image(read, axes, name, z=z)


def open_zarrs(paths: list[Path], folder: Path, choices: Choices) -> Source:
    """Open Zarr groups and arrays.

    Raises
    ------
    MissingExtraError
        Without zarr.
    DataError
        If they hold no images.
    """
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f'{paths[0]} needs zarr: pip install "microscopy-zoo[zarr]"'
        ) from error
    left_out: dict[str, list[str]] = {}
    images: list[ZarrImage] = []
    for path in paths:
        label = path.name if path == folder else path.relative_to(folder).as_posix()
        images += walk(path, label, left_out)
    if not images:
        raise DataError(f"{folder} has no images")
    plates = any(image.well is not None for image in images)
    stains, sizes = {i.stains for i in images}, {i.pixel_size for i in images}
    name = folder.resolve().name.removesuffix(".zarr").removesuffix(".ome")
    return Source(
        "an OME-Zarr plate" if plates else f"{_kind(images)}",
        Dataset(name, _table(images), ZarrReader(images, choices)),
        left_out=left_out,
        stains=next(iter(stains)) if len(stains) == 1 else None,
        pixel_size=next(iter(sizes)) if len(sizes) == 1 else None,
    )


def _kind(images: list[ZarrImage]) -> str:
    return "OME-Zarr images" if any(i.axes is not None for i in images) else "Zarr arrays"


def _table(images: list[ZarrImage]) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {"image": [i.label for i in images]}
    for part in ("plate", "well", "site"):
        values = [getattr(image, part) for image in images]
        if any(values):
            columns[f"Metadata_{part.capitalize()}"] = values
    if len(columns) == 1:
        columns |= positions_of_names(columns["image"])
    return pd.DataFrame(columns)


def _check_chunks(array: Any, read: NDArray[Any], name: str) -> None:
    """Refuse an image that lacks chunks, which read as black without an error.

    Writers leave out chunks that are black, too. So a chunk counts as lost if its plane is black,
    or if black pixels are in missing chunks only.
    """
    fill = array.fill_value if array.fill_value is not None else 0
    black = read == fill
    if not black.any() or array.nchunks_initialized >= array.nchunks:
        return
    height, width = (getattr(array, "shards", None) or array.chunks)[-2:]
    for k, plane in enumerate(black.reshape(-1, *black.shape[-2:])):
        blocks = [
            plane[top : top + height, left : left + width]
            for top in range(0, plane.shape[0], height)
            for left in range(0, plane.shape[1], width)
        ]
        missing = [block.all() for block in blocks]
        elsewhere = any(b.any() for b, gone in zip(blocks, missing, strict=True) if not gone)
        if any(missing) and (all(missing) or not elsewhere):
            raise ImageError(
                f"{name} lacks {array.nchunks - array.nchunks_initialized} of {array.nchunks} "
                f"chunks, and plane {k + 1} is black where they are missing: copy it again"
            )
