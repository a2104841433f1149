"""Read TIFF files as `(C, H, W)` images."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import ImageError

from .image import COLOURS, Image
from .pixel_size import tiff_pixel_size, tiff_stains
from .projection import Z
from .stack_axes import Channels, to_image

SUFFIXES = (".tif", ".tiff")


def read_tiff(
    path: Path,
    *,
    axes: str | None = None,
    z: Z = None,
    channels: Channels = None,
    scene: tuple[int, int] | None = None,
) -> Image:
    """Read a TIFF file; options as for `read_image`.

    `scene` is the number of a series, and of its image in the OME description, both from 0.
    """
    import tifffile

    with unlogged("tifffile"), tifffile.TiffFile(path) as file:
        if not _is_whole(file):
            raise ImageError(f"{path} ends before its last page; is it truncated?")
        series = [s for s in file.series if _size(s) == _size(file.series[0])]
        if scene is not None:
            if scene[0] >= len(file.series):
                raise ImageError(f"{path} has no image {scene[0] + 1}: are files of it missing?")
            series = [file.series[scene[0]]]
        if any(page is None for s in series for page in s):
            raise ImageError(
                f"{path} lacks planes that its header lists: is it truncated, or one file of a "
                "set of which others are missing?"
            )
        array, named = series[0].asarray(), series[0].axes
        if len(series) > 1:
            array, named = _stacked(series, path), "QYX"
        photometric = series[0].keyframe.photometric
        if photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            array = _inverted(array, path)
        # Decoders turn other colours to these; samples of stains are neither.
        colour = photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
        # A stack of ImageJ that holds channels says so.
        count = array.shape[0] if file.is_imagej and named == "IYX" else 1
        if axes is None and channels != "all" and count not in (1, channels):
            raise ImageError(
                f"{path} is a stack of {count} planes that ImageJ does not name, which may be "
                f"{count} channels (--axes CYX) or planes in depth (--axes ZYX): choose with axes="
            )
        pixels = to_image(array, named, str(path), given=axes, z=z, channels=channels)
        image = 0 if scene is None else scene[1]
        names = tiff_stains(file, len(pixels), image)
        size = tiff_pixel_size(file, image)
    if names is None and len(pixels) == 3 and colour:
        names = COLOURS
    return Image(_without_bits(pixels), names, size)


def read_page(path: Path, page: int, series: int = 0) -> Image:
    """Read one page of one series of a TIFF, both from 0, as an image of one channel.

    Raises
    ------
    ImageError
        If there is no such page, or it is in colour.
    """
    import tifffile

    with unlogged("tifffile"), tifffile.TiffFile(path) as file:
        if not _is_whole(file):
            raise ImageError(f"{path} ends before its last page; is it truncated?")
        if series >= len(file.series) or page >= len(file.series[series].pages):
            have = [len(s.pages) for s in file.series]
            raise ImageError(
                f"{path} has {', '.join(map(str, have))} page(s) in its {len(have)} series, but "
                f"page {page} of series {series} was asked for (both count from 0)"
            )
        found = file.series[series].pages[page]
        if found is None:
            raise ImageError(f"{path} lacks page {page}, which its header lists")
        array = found.asarray()
        if file.series[series].keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            array = _inverted(array, path)
        if array.ndim != 2:
            raise ImageError(f"page {page} of {path} is {array.shape}, not one channel")
        return Image(_without_bits(array[None]), None, tiff_pixel_size(file))


def first_description(path: Path) -> str:
    """Return the description of the first page of a TIFF; empty if there is none."""
    import tifffile

    try:
        with unlogged("tifffile"), tifffile.TiffFile(path) as file:
            return str(file.pages.first.description)
    except Exception:  # of a broken file, which is named when it is read
        return ""


@contextmanager
def unlogged(name: str) -> Iterator[None]:
    """Silence a library's log in this thread; we raise an error instead."""
    import logging
    import threading

    thread = threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger = logging.getLogger(name)
    logger.addFilter(elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(elsewhere)


def _stacked(series: list[Any], path: Path) -> NDArray[Any]:
    pages = [s.asarray() for s in series]
    named = any(s.kind == "ome" or s.axes != "YX" for s in series)
    if named or len({page.dtype for page in pages}) > 1:
        kinds = ", ".join(f"{s.axes} {s.shape} {s.dtype}" for s in series)
        raise ImageError(
            f"{path} holds {len(series)} images ({kinds}): write each to its own file, or "
            "their planes as one stack"
        )
    return np.stack(pages)


def _inverted(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return pixels of a file whose 0 is white with 0 for black, as in other formats."""
    if array.dtype == bool:
        return ~array
    if array.dtype.kind != "u":
        raise ImageError(f"{path} says that its 0 is white, but holds {array.dtype} pixels")
    return np.iinfo(array.dtype).max - array


def _without_bits(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels of one bit as 0 and 255."""
    return pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == bool else pixels


def _size(series: Any) -> tuple[int | None, int | None]:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return sizes.get("Y"), sizes.get("X")


def _is_whole(file: Any) -> bool:
    """Whether the list of pages and their descriptions end within the file.

    For a truncated list tifffile returns the pages before, so channels would be missing; for a
    truncated description, stain names and axes would be.
    """
    form, handle = file.tiff, file.filehandle
    entry = f"{form.byteorder}HH{'QQ' if form.offsetsize == 8 else 'II'}"
    place, seen = form.offsetsize, set()
    while place + form.offsetsize <= handle.size:
        handle.seek(place)
        (start,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
        if start == 0:
            return True
        if start in seen or start + form.tagnosize > handle.size:
            return False
        seen.add(start)
        handle.seek(start)
        (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
        place = start + form.tagnosize + tags * form.tagsize
        if place > handle.size:
            return False
        for code, _, length, offset in struct.iter_unpack(entry, handle.read(tags * form.tagsize)):
            described = code == 270 and length > form.offsetsize
            if described and offset + length > handle.size:
                return False
    return False
