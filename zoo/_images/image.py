"""One image in memory."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

COLOURS = ("red", "green", "blue")


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
        Label mask of segmented objects, `(H, W)` integers, 0 for background.
    types
        Type of each object, `(n,)` integers from 0: ``types[k - 1]`` for object k.

    Examples
    --------
    >>> import numpy as np
    >>> image = zoo.Image(np.zeros((2, 64, 64)), stains=("DNA", "ER"), pixel_size=0.65)
    >>> image.pixels.shape
    (2, 64, 64)
    """

    pixels: NDArray[Any]
    stains: tuple[str, ...] | None = None
    pixel_size: float | None = None
    mask: NDArray[Any] | None = None
    types: NDArray[Any] | None = None


def is_colour(stains: tuple[str, ...]) -> bool:
    """Whether the channels are red, green and blue, in this order."""
    return tuple(stain.lower() for stain in stains) == COLOURS


def channel_names(image: Image) -> tuple[str, ...]:
    """Stain of each channel, or its number from 1, which is also appended to repeated stains."""
    names = image.stains or [str(k + 1) for k in range(len(image.pixels))]
    return tuple(
        f"{name} ({k + 1})" if name in names[:k] else str(name) for k, name in enumerate(names)
    )
