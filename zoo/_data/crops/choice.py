"""What a user says about crops: of what, how large, and what becomes of those at an edge."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

Edge = Literal["drop", "shift", "pad"]
_LENGTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(px|um|µm|μm)?", re.IGNORECASE)


@dataclass(frozen=True)
class Length:
    """A length, in pixels or in micrometres."""

    value: float
    micrometres: bool = False

    def __str__(self) -> str:
        return f"{self.value:g} {'µm' if self.micrometres else 'pixels'}"


@dataclass(frozen=True)
class Crops:
    """How images are cut to crops; checked when it is made.

    Parameters
    ----------
    source
        Where objects are: masks, a table of centroids, a way of finding them; or ``tiles``.
    size
        Side of a crop, in pixels or as text such as ``"40um"``.
    stride
        From one tile to the next, likewise; by default the size.
    edge
        What becomes of a crop that reaches beyond its image: ``"drop"`` leaves it out, ``"shift"``
        moves it into the image, ``"pad"`` fills it with 0.

    Raises
    ------
    ValueError
        If one is of the wrong form.
    """

    source: str
    size: int | str
    stride: int | str | None = None
    edge: Edge = "drop"

    def __post_init__(self) -> None:
        parse_length(self.size, "crop_size")
        if self.stride is not None:
            parse_length(self.stride, "crop_stride")
            if self.source != TILES:
                raise ValueError(
                    f"crop_stride (--crop-stride) is of {TILES}, but crops is {self.source!r}"
                )
        if self.edge not in get_args(Edge):
            raise ValueError(f"edge is {self.edge!r}, but must be one of {', '.join(EDGES)}")


TILES, OBJECTS, NUCLEI = "tiles", "objects", "nuclei"
EDGES: tuple[str, ...] = get_args(Edge)


def make_crops(
    source: object,
    size: int | str | None,
    stride: int | str | None = None,
    edge: Edge | None = None,
) -> Crops | None:
    """Return what the options of a function or a command say together; None for whole images.

    Raises
    ------
    ValueError
        If one option needs another.
    """
    if source is None:
        given = [("crop_size", size), ("crop_stride", stride), ("edge", edge)]
        for name, value in given:
            if value is not None:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(f"{name} ({option}) needs crops (--crops), which says of what")
        return None
    if size is None:
        raise ValueError(
            "crops (--crops) needs crop_size (--crop-size): the side in pixels, or such as '40um'"
        )
    return Crops(str(source), size, stride, edge or "drop")


def parse_length(given: int | str, name: str) -> Length:
    """Return a length of pixels, or of micrometres where the text says so.

    Raises
    ------
    ValueError
        If it is none, not above 0, or not a whole number of pixels.
    """
    match = _LENGTH.fullmatch(str(given).strip())
    micrometres = match is not None and (match[2] or "px").lower() != "px"
    value = float(match[1]) if match is not None else 0.0
    if value <= 0 or not (micrometres or value.is_integer()):
        raise ValueError(
            f"{name} is {given!r}, but must be whole pixels above 0, or micrometres as '40um'"
        )
    return Length(value, micrometres)
