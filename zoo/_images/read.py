"""Read image files as `(C, H, W)` images."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import ImageError

from .image import COLOURS, Image

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp")


def read_image(path: str | Path | Sequence[str | Path]) -> Image:
    """Read one file, or one file for each channel.

    TIFF: 8- and 16-bit integers and floats, any order of channel, row and column axes. Stacks
    without named axes, and pages of one size and dtype, are read as channels; pages of another
    size than the first, such as thumbnails, are skipped. OME channel names become stains. PNG,
    JPEG and BMP give one channel if grey and three if in colour, without transparency. The stains
    of a colour image are red, green and blue.

    Raises
    ------
    ImageError
        Naming the file: missing, truncated, not an image, several images, or with a time or depth
        axis; or if the files of one image differ in size or dtype.

    Examples
    --------
    >>> import numpy as np, tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/field.tif", np.zeros((2, 32, 32), np.uint8))
    ...     image = zoo.read_image(f"{folder}/field.tif")
    >>> image.pixels.shape
    (2, 32, 32)
    """
    if not isinstance(path, str | Path):
        parts = [read_image(p) for p in path]
        if not parts:
            raise ImageError("an image needs at least one file")
        sizes = {p.pixels.shape[1:] for p in parts}
        kinds = {p.pixels.dtype for p in parts}
        if len(sizes) > 1 or len(kinds) > 1:
            raise ImageError(
                f"the files of one image differ: {', '.join(map(str, path))} have the sizes "
                f"{sorted(sizes)} and the types {sorted(map(str, kinds))}"
            )
        names = [p.stains for p in parts]
        stains = None if None in names else tuple(s for part in names if part for s in part)
        return Image(np.concatenate([p.pixels for p in parts]), stains, parts[0].pixel_size)

    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path} is missing" if not path.exists() else f"{path} is not a file")
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"{path} is none of the formats {', '.join(SUFFIXES)}")
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            return _read_tiff(path)
        picture = _read_picture(path)
        return Image(picture, COLOURS if len(picture) == 3 else None)
    except ImageError:
        raise
    except Exception as error:  # decoders raise any exception on broken files
        if "imagecodecs" in str(error):
            raise ImageError(
                f"{path} is compressed in a way that needs imagecodecs: "
                'pip install "microscopy-zoo[codecs]"'
            ) from error
        reason = str(error).strip().splitlines()
        why = reason[0] if reason else type(error).__name__
        raise ImageError(f"{path} cannot be read ({why}); is it truncated?") from error


def _read_tiff(path: Path) -> Image:
    import tifffile

    with _unlogged("tifffile"), tifffile.TiffFile(path) as file:
        if not _is_whole(file):
            raise ImageError(f"{path} ends before its last page; is it truncated?")
        series = [s for s in file.series if _size(s) == _size(file.series[0])]
        if any(page is None for s in series for page in s):
            raise ImageError(
                f"{path} lacks planes that its header lists: is it truncated, or one file of a "
                "set of which others are missing?"
            )
        array, axes = series[0].asarray(), series[0].axes
        if len(series) > 1:
            pages = [s.asarray() for s in series]
            named = any(s.kind == "ome" or s.axes != "YX" for s in series)
            if named or len({page.dtype for page in pages}) > 1:
                kinds = ", ".join(f"{s.axes} {s.shape} {s.dtype}" for s in series)
                raise ImageError(
                    f"{path} holds {len(series)} images ({kinds}): write each to its own file, or "
                    "their planes as one stack"
                )
            array, axes = np.stack(pages), "QYX"
        names = _ome_channels(file.ome_metadata) if file.is_ome else None
        # Decoders turn other colours to these; samples of stains are neither.
        colour = series[0].keyframe.photometric in (
            tifffile.PHOTOMETRIC.RGB,
            tifffile.PHOTOMETRIC.YCBCR,
        )
    keep = [
        i
        for i, (axis, n) in enumerate(zip(axes, array.shape, strict=True))
        if n > 1 or axis in "YX"
    ]
    axes = "".join(axes[i] for i in keep)
    array = array.reshape([array.shape[i] for i in keep])
    depth = [a for a in axes if a not in "CSIQYX"]
    if depth or axes.count("Y") != 1 or axes.count("X") != 1:
        raise ImageError(
            f"{path} has the axes {axes} {array.shape}; an image has channels, rows and columns: "
            "project or split the others first"
        )
    order = [i for i, a in enumerate(axes) if a not in "YX"] + [axes.index(a) for a in "YX"]
    height, width = (array.shape[axes.index(a)] for a in "YX")
    pixels = array.transpose(order).reshape(-1, height, width)
    if names is not None and len(names) != len(pixels):
        names = None
    if names is None and len(pixels) == 3 and colour:
        names = COLOURS
    return Image(np.ascontiguousarray(pixels), names)


@contextmanager
def _unlogged(name: str) -> Iterator[None]:
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


def _size(series: Any) -> tuple[int | None, int | None]:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return sizes.get("Y"), sizes.get("X")


def _ome_channels(text: str | None) -> tuple[str, ...] | None:
    from xml.etree import ElementTree

    if not text:
        return None
    try:
        pixels = ElementTree.fromstring(text).find("{*}Image/{*}Pixels")
    except ElementTree.ParseError:
        return None
    channels = [] if pixels is None else pixels.findall("{*}Channel")
    names = [c.get("Name") for c in channels]
    return tuple(n for n in names if n) if names and all(names) else None


def _read_picture(path: Path) -> NDArray[Any]:
    from PIL import Image as Picture

    with Picture.open(path) as picture:
        if picture.mode in ("RGB", "RGBA", "LA") and ";16" in str(picture.tile):
            raise ImageError(f"{path} has 16 bits a colour, which PNG readers cut to 8: use TIFF")
        if picture.mode in ("1", "P", "RGBA", "LA", "CMYK", "YCbCr", "PA"):
            grey = picture.mode in ("1", "LA")
            if "transparency" in picture.info:  # a palette cannot drop it in one step
                picture = picture.convert("RGBA")
            picture = picture.convert("L" if grey else "RGB")
        array = np.asarray(picture)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(np.moveaxis(array, -1, 0))
