"""One image in memory."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Image:
    """One multi-channel field or crop.

    Parameters
    ----------
    pixels
        `(C, H, W)`, as stored.
    stains
        Name of each channel, where known.
    pixel_size
        Micrometres along a pixel's side, where known.
    mask
        Number of the object at each pixel, `(H, W)` integers, 0 for background, where objects have
        been segmented.
    types
        Type of each object, `(n,)` integers from 0: ``types[k - 1]`` is that of object k.
    """

    pixels: NDArray[Any]
    stains: tuple[str, ...] | None = None
    pixel_size: float | None = None
    mask: NDArray[Any] | None = None
    types: NDArray[Any] | None = None


def channel_names(image: Image) -> tuple[str, ...]:
    """Stain of each channel, or its place from 1; a stain that comes again has its place added."""
    names = image.stains or [str(k + 1) for k in range(len(image.pixels))]
    return tuple(
        f"{name} ({k + 1})" if name in names[:k] else str(name) for k, name in enumerate(names)
    )
