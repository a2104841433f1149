"""Whole slides, read by OpenSlide: square tiles at a chosen pixel size, where there is tissue."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import DataError, ImageError, MissingExtraError

from .._images.image import COLOURS, Image
from .._images.pixel_size import side
from .._images.tissue import tissue_mask
from .choices import Choices
from .dataset import Dataset
from .source import Source

SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide")
# Longest side of the picture on which tissue is found.
_THUMBNAIL = 1024
# Resizing by less than this would only blur.
_SAME = 0.01


@dataclass(frozen=True, slots=True)
class Tile:
    """Place of a tile in pixels of the largest level, its side there, and its share of tissue."""

    slide: Path
    x: int
    y: int
    side: int
    tissue: float


@dataclass(frozen=True)
class TileReader:
    """Reads one tile, from the level that is nearest above the pixel size, and resizes it."""

    thread_safe: ClassVar[bool] = True
    tiles: list[Tile]
    pixels: int
    pixel_size: float

    def __call__(self, i: int) -> Image:
        tile = self.tiles[i]
        try:
            array = _read(_slide(tile.slide), tile, self.pixels)
        except ImageError:
            raise
        except Exception as error:  # libraries raise any exception on broken slides
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise ImageError(f"{tile.slide} cannot be read ({reason}); is it truncated?") from error
        planes = np.ascontiguousarray(np.moveaxis(array, -1, 0))
        return Image(planes, COLOURS, self.pixel_size)

    def files_of(self, i: int) -> list[Path]:
        """Return the slide of a tile."""
        return [self.tiles[i].slide]


def open_slides(name: str, slides: list[Path], names: list[str], choices: Choices) -> Source:
    """Open slides as tiles.

    Tiles lie side by side from the upper left, or a stride apart; what is left at the right and
    below is no tile.

    Raises
    ------
    MissingExtraError
        Without OpenSlide.
    DataError
        If a slide cannot be read, has no pixel size, or no tile has enough tissue.
    """
    tiles: list[Tile] = []
    labels: list[str] = []
    without = 0
    for path, label in zip(slides, names, strict=True):
        every = _tiles(path, choices)
        kept = [tile for tile in every if tile.tissue >= choices.tissue]
        without += len(every) - len(kept)
        tiles += kept
        labels += [label] * len(kept)
    if not tiles:
        raise DataError(
            f"none of the {without} tiles of {name} has {choices.tissue:.0%} tissue: lower tissue= "
            "(--tissue), or choose smaller tiles (--tile)"
        )
    table = pd.DataFrame(
        {
            "image": [f"{n} x{t.x} y{t.y}" for n, t in zip(labels, tiles, strict=True)],
            "Metadata_Slide": labels,
            "tile_x": [t.x for t in tiles],
            "tile_y": [t.y for t in tiles],
            "tissue": [t.tissue for t in tiles],
        }
    )
    size = choices.tile_pixel_size
    return Source(
        f"tiles of {choices.tile} pixels at {size:g} µm of {len(slides)} whole slide(s)",
        Dataset(name, table, TileReader(tiles, choices.tile, size)),
        notes=(f"{without} tiles without {choices.tissue:.0%} tissue are left out",),
        stains=COLOURS,
        pixel_size=size,
    )


def _tiles(path: Path, choices: Choices) -> list[Tile]:
    """Return all whole tiles of a slide."""
    slide = _slide(path)
    given = choices.pixel_size
    sides = [slide.properties.get(f"openslide.mpp-{a}") for a in "xy"]
    own = given or side(*(float(s) if s else None for s in sides))
    if own is None:
        raise DataError(
            f"{path} does not say how many micrometres a pixel has: give it with pixel_size= "
            "(--pixel-size)"
        )
    length = round(choices.tile * choices.tile_pixel_size / own)
    stride = max(round((choices.tile_stride or choices.tile) * choices.tile_pixel_size / own), 1)
    width, height = slide.dimensions
    small = np.asarray(slide.get_thumbnail((_THUMBNAIL, _THUMBNAIL)).convert("RGB"))
    # Sums of rows and columns give the share of any rectangle at once.
    mask = tissue_mask(small)
    total = np.pad(mask.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    found = []
    for y in range(0, height - length + 1, stride):
        for x in range(0, width - length + 1, stride):
            top, bottom = (_scaled(v, mask.shape[0], height) for v in (y, y + length))
            left, right = (_scaled(v, mask.shape[1], width) for v in (x, x + length))
            area = max((bottom - top) * (right - left), 1)
            inside = total[bottom, right] - total[top, right] - total[bottom, left]
            share = round(float(inside + total[top, left]) / area, 4)
            found.append(Tile(path, x, y, length, share))
    if not found:
        raise DataError(
            f"{path} is {width} × {height} pixels, too small for a tile of {length} pixels"
        )
    return found


def _scaled(value: int, small: int, large: int) -> int:
    return round(value * small / large)


def _read(slide: Any, tile: Tile, pixels: int) -> NDArray[np.uint8]:
    from PIL import Image as Picture

    ratio = tile.side / pixels
    level = slide.get_best_level_for_downsample(max(ratio * (1 + _SAME), 1))
    length = max(round(tile.side / slide.level_downsamples[level]), 1)
    region = slide.read_region((tile.x, tile.y), level, (length, length))
    # Where a slide was not scanned it is transparent: white, as glass is.
    white = Picture.new("RGBA", region.size, (255, 255, 255, 255))
    picture = Picture.alpha_composite(white, region).convert("RGB")
    if length != pixels:
        picture = picture.resize((pixels, pixels), Picture.Resampling.BILINEAR)
    return np.asarray(picture)


@lru_cache(maxsize=4)
def _slide(path: Path) -> Any:
    """Open a slide, which stays open for its next tile."""
    try:
        import openslide
    except ImportError as error:
        raise MissingExtraError(
            f'{path} needs OpenSlide: pip install "microscopy-zoo[slides]"'
        ) from error
    try:
        return openslide.OpenSlide(str(path))
    except Exception as error:  # of a broken file
        raise DataError(f"{path} is no slide that OpenSlide reads ({error})") from error
