"""What a user says about a source, where its files do not say it or say it otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zoo.registry import DataError

from .._images.projection import Z, check_z
from .._images.stack_axes import split_axes
from .crops.choice import Crops


@dataclass(frozen=True)
class Choices:
    """Options of `open_images`; checked when they are made.

    Parameters
    ----------
    pattern, z, axes, channels, pixel_size
        As for `open_images`.
    moved, stains
        New beginnings of paths, and new names of stains, by old ones.
    tile, tile_pixel_size, tissue, tile_stride
        Side of a slide's tile in pixels, micrometres per pixel, smallest share of tissue, pixels
        from tile to tile; None for their side.
    crops
        What is cut out of images; None for whole images.
    base
        URL of the folder of a table that was fetched; its paths are relative to it.

    Raises
    ------
    TypeError, ValueError
        If one is of the wrong form.
    """

    pattern: str | None = None
    z: Z = None
    axes: str | None = None
    moved: Mapping[str, str] = field(default_factory=dict)
    stains: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    pixel_size: float | None = None
    tile: int = 224
    tile_pixel_size: float = 0.5
    tissue: float = 0.25
    tile_stride: int | None = None
    crops: Crops | None = None
    base: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "z", check_z(self.z))
        if self.axes is not None:
            split_axes(self.axes)
        if self.pixel_size is not None and not 0 < self.pixel_size < float("inf"):
            raise ValueError(f"pixel_size is {self.pixel_size!r}, but must be micrometres above 0")
        if self.tile < 1 or not 0 < self.tile_pixel_size < float("inf"):
            raise ValueError(
                f"tiles are {self.tile} pixels of {self.tile_pixel_size} µm, but must be above 0"
            )
        if self.tile_stride is not None and self.tile_stride < 1:
            raise ValueError(f"tile_stride is {self.tile_stride}, but must be pixels above 0")
        if not 0 <= self.tissue <= 1:
            raise ValueError(f"tissue is {self.tissue}, but must be a share from 0 to 1")
        if isinstance(self.channels, str):
            raise TypeError(f"channels is {self.channels!r}, but must be a sequence of stains")


def parse_pairs(pairs: tuple[str, ...], example: str) -> dict[str, str]:
    """Return a dict of texts ``OLD=NEW``.

    Raises
    ------
    DataError
        For a text without ``=``, or with an empty side.
    """
    found = {}
    for pair in pairs:
        old, _, new = (part.strip() for part in pair.partition("="))
        if not old or not new:
            raise DataError(f"{pair!r} is not OLD=NEW, such as {example}")
        found[old] = new
    return found
