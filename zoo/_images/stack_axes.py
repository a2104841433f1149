"""Stacks of planes: which axis is what, and how they become channels, rows and columns."""

import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.registry import ImageError

from .projection import CHOICE, Z, needed, project

# Stacks of more planes than this are more likely slices or time points than stains.
MOST_CHANNELS = 10
# Fewer planes in depth than this are no stack.
_LEAST_DEPTH = 3
Channels = int | Literal["all"] | None
_UNNAMED = "IQ"
_CHANNELS = "CS"


def to_image(
    array: NDArray[Any],
    axes: str,
    name: str,
    *,
    given: str | None = None,
    z: Z = None,
    channels: Channels = None,
) -> NDArray[Any]:
    """Return a `(C, H, W)` array.

    Parameters
    ----------
    array
        Planes as stored.
    axes
        One letter for each axis: C and S channels, Z depth, T time, Y rows, X columns, I and Q
        unnamed.
    name
        Name of the file in messages.
    given
        Axes that the user names instead, as in `split_axes`.
    z
        How to project depth.
    channels
        Number of channels, where something else says it, or "all" if every plane is one.

    Raises
    ------
    ImageError
        If more than one reading is plausible, axes are left that no image has, or `given` does not
        fit.
    """
    if given is not None:
        array, axes = _renamed(array, given, name)
    kept = [i for i, (a, n) in enumerate(zip(axes, array.shape, strict=True)) if n > 1 or a in "YX"]
    axes = "".join(axes[i] for i in kept)
    array = array.reshape([array.shape[i] for i in kept])
    _check_readings(axes, array.shape, name, channels)
    if "Z" in axes and z is not None:
        place = axes.index("Z")
        planes = (array.take(k, place) for k in needed(array.shape[place], z, name))
        array, axes = project(planes, z), axes.replace("Z", "")
    other = [a for a in axes if a not in _CHANNELS + _UNNAMED + "YX"]
    if other or axes.count("Y") != 1 or axes.count("X") != 1:
        depth = f"; for depth, {CHOICE}" if "Z" in other else ""
        raise ImageError(
            f"{name} has the axes {axes} {array.shape}; an image has channels, rows and columns: "
            f"project or split the others first{depth}"
        )
    order = [i for i, a in enumerate(axes) if a not in "YX"] + [axes.index(a) for a in "YX"]
    height, width = (array.shape[axes.index(a)] for a in "YX")
    return np.ascontiguousarray(array.transpose(order).reshape(-1, height, width))


def split_axes(text: str) -> list[tuple[str, int | None]]:
    """Return letters and lengths of axes such as ``CYX`` or, to split one axis, ``C2Z3YX``.

    Raises
    ------
    ValueError
        For letters other than C, Z, T, Y and X, without Y and X, or a letter that comes twice.
    """
    parts = re.findall(r"([CZTYX])(\d*)", text.upper())
    letters = "".join(letter for letter, _ in parts)
    whole = "".join(letter + count for letter, count in parts) == text.upper()
    if not whole or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters):
        raise ValueError(
            f"axes are {text!r}, but must name each stored axis once by C (channels), Z (depth), "
            "T (time), Y (rows) and X (columns), such as CYX, ZCYX, or C2Z3YX with lengths"
        )
    return [(letter, int(count) if count else None) for letter, count in parts]


def _renamed(array: NDArray[Any], given: str, name: str) -> tuple[NDArray[Any], str]:
    parts = split_axes(given)
    letters = "".join(letter for letter, _ in parts)
    if len(parts) != array.ndim:
        array = array.reshape([n for n in array.shape if n > 1])
    lengths: list[int] = []
    if len(parts) == array.ndim:
        lengths = [count or n for (_, count), n in zip(parts, array.shape, strict=True)]
    elif letters[-2:] == "YX" and len(parts) > 2 and all(count for _, count in parts[:-2]):
        lengths = [*(count for _, count in parts[:-2] if count), *array.shape[-2:]]
    if not lengths or np.prod(lengths) != array.size:
        raise ImageError(
            f"{name} has {array.ndim} axes of {array.shape}, but {given!r} names {len(parts)}: "
            "give as many, or lengths whose product fits, such as C2Z3YX"
        )
    return array.reshape(lengths), letters


def _check_readings(axes: str, shape: tuple[int, ...], name: str, channels: Channels) -> None:
    """Refuse unnamed axes that may be channels as well as depth or time."""
    unnamed = [i for i, a in enumerate(axes) if a in _UNNAMED]
    stacked = [shape[i] for i, a in enumerate(axes) if a not in "YX"]
    if not unnamed or stacked == [channels] or (len(stacked) == 1 and channels == "all"):
        return
    readings = []
    if len(stacked) == 1:
        (count,) = stacked
        both = [c for c in range(2, count) if count % c == 0 and count // c >= _LEAST_DEPTH]
        if count <= MOST_CHANNELS and not both:
            return
        readings = [("CYX", f"{count} channels"), ("ZYX", f"{count} planes in depth")]
        if count <= MOST_CHANNELS:
            for c in both:
                depth = f"{count // c} planes in depth"
                readings += [(f"C{c}Z{count // c}YX", f"{c} channels of {depth} each")]
                readings += [(f"Z{count // c}C{c}YX", f"{depth} of {c} channels each")]
    elif len(stacked) == 2:
        first, second = stacked
        readings = [
            ("CZYX", f"{first} channels of {second} planes in depth each"),
            ("ZCYX", f"{first} planes in depth of {second} channels each"),
        ]
    said = ", or ".join(f"{what} (--axes {letters})" for letters, what in readings)
    raise ImageError(
        f"{name} is a stack of {' × '.join(map(str, shape))} without named axes, which may be "
        f"{said or 'channels, depth or time'}: choose with axes= (--axes)"
    )
