"""Read image files as `(C, H, W)` images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import ImageError

from .image import COLOURS, Image
from .projection import Z, check_z
from .stack_axes import Channels, split_axes, to_image
from .tiff import SUFFIXES as TIFF_SUFFIXES
from .tiff import read_tiff

ARRAY_SUFFIXES = (".npy", ".npz")
SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp", *ARRAY_SUFFIXES)
# Formats that need packages of their own; the reader of CZI is under the GPL, so in no extra.
BIOIO = {".nd2": "bioio bioio-nd2", ".lif": "bioio bioio-lif", ".czi": "bioio bioio-czi"}


def read_image(
    path: str | Path | Sequence[str | Path],
    *,
    axes: str | None = None,
    z: Z = None,
    channels: Channels = None,
) -> Image:
    """Read one file, or one file for each channel.

    TIFF: 8- and 16-bit integers and floats, any order of channel, row and column axes. Up to ten
    pages or planes without named axes are channels, unless as many may be channels of several
    planes in depth, such as six; pages of another size than the first, such as thumbnails, are
    skipped. Names of channels in OME, ImageJ (``Labels``) and MetaXpress become
    stains, and their pixel size is kept. Where 0 is white, pixels are inverted. PNG, JPEG and BMP
    give one channel if grey and three if in colour, without transparency. The stains of a colour
    image are red, green and blue. NPY and NPZ hold one array `(C, H, W)` or `(H, W)`.

    Parameters
    ----------
    path
        A file, or one file for each channel.
    axes
        The stored axes of stacks, instead of what the file says: C (channels), Z (depth), T (time),
        Y (rows) and X (columns), such as ``ZYX``, or with lengths ``C2Z3YX``.
    z
        How depth becomes one plane: ``"max"``, ``"mean"``, ``"middle"``, or its number from 1.
    channels
        The number of channels, if it is known, or ``"all"`` if every plane is a channel: a stack of
        as many planes needs no axes.

    Raises
    ------
    ImageError
        Naming the file: missing, truncated, not an image, several images, a stack that can be read
        in several ways, or with a time or depth axis; or if the files of one image differ in size
        or dtype.
    ValueError
        If `axes` or `z` is none of these.

    Examples
    --------
    >>> import numpy as np, tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/field.tif", np.zeros((2, 32, 32), np.uint8))
    ...     image = zoo.read_image(f"{folder}/field.tif")
    >>> image.pixels.shape
    (2, 32, 32)
    """
    z = check_z(z)
    if axes is not None:
        split_axes(axes)
    if not isinstance(path, str | Path):
        return join_channels([read_image(p, axes=axes, z=z) for p in path], path)
    path = Path(path)
    with named_errors(path):
        if path.suffix.lower() in TIFF_SUFFIXES:
            return read_tiff(path, axes=axes, z=z, channels=channels)
        if path.suffix.lower() in ARRAY_SUFFIXES:
            return _read_array(path, axes, z)
        picture = _read_picture(path)
        return Image(picture, COLOURS if len(picture) == 3 else None)


def join_channels(parts: list[Image], paths: Sequence[str | Path]) -> Image:
    """Join images of the same size and dtype to one with all their channels.

    Raises
    ------
    ImageError
        If there are none, or they differ.
    """
    if not parts:
        raise ImageError("an image needs at least one file")
    sizes = {p.pixels.shape[1:] for p in parts}
    kinds = {p.pixels.dtype for p in parts}
    if len(sizes) > 1 or len(kinds) > 1:
        raise ImageError(
            f"the files of one image differ: {', '.join(map(str, paths))} have the sizes "
            f"{sorted(sizes)} and the types {sorted(map(str, kinds))}"
        )
    names = [p.stains for p in parts]
    stains = None if None in names else tuple(s for part in names if part for s in part)
    size = next((p.pixel_size for p in parts if p.pixel_size is not None), None)
    return Image(np.concatenate([p.pixels for p in parts]), stains, size)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Check that a path is an image file, and name it where reading fails."""
    if not path.is_file():
        raise ImageError(f"{path} is missing" if not path.exists() else f"{path} is not a file")
    if path.suffix.lower() in BIOIO:
        raise ImageError(
            f"{path} may hold several images: open it with zoo.open_images, which needs bioio: "
            f"pip install {BIOIO[path.suffix.lower()]}"
        )
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"{path} is none of the formats {', '.join(SUFFIXES)}")
    try:
        yield
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


def _read_array(path: Path, axes: str | None, z: Z) -> Image:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        array = loaded
    else:
        with loaded:
            if len(loaded.files) != 1:
                raise ImageError(
                    f"{path} holds {len(loaded.files)} arrays: save one image, or open the file "
                    "as a source, where each array is an image"
                )
            array = loaded[loaded.files[0]]
    return Image(as_planes(array, str(path), axes, z))


def as_planes(array: NDArray[Any], name: str, axes: str | None, z: Z) -> NDArray[Any]:
    """Return an array `(C, H, W)` or `(H, W)`, or one with given axes, as `(C, H, W)`."""
    if axes is None and array.ndim in (2, 3):
        return array.reshape(-1, *array.shape[-2:])
    return to_image(array, "Q" * (array.ndim - 2) + "YX", name, given=axes, z=z)


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
