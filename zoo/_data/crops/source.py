"""Make a source of crops from a source of images."""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.registry import DataError

from ..choices import Choices
from ..dataset import Dataset
from ..source import Source
from .choice import TILES, Crops, parse_length
from .cut import CropReader, Places
from .finding import find_objects
from .objects import BOX
from .plan import Planned, Sizes, around_objects, tiles

LEFT, TOP = "crop_x", "crop_y"
EDGE = "crop_beyond_image"
_LARGEST = 2**15
_THREADS = 4


def with_crops(source: Source, crops: Crops, choices: Choices, folder: Path | str) -> Source:
    """Return a source of the crops of each image, in the order of images and objects.

    Parameters
    ----------
    source
        Whole images.
    crops
        What is cut out of them.
    choices
        The other options.
    folder
        Where a table of images is, to which the masks in it are relative.

    Raises
    ------
    DataError
        If no crop can be made, or it is not known where objects are.
    """
    dataset = source.dataset
    if dataset.read is None:
        raise DataError(f"{dataset.name} has no images, only embeddings")
    pixel_size = _pixel_size(source, choices) if _in_micrometres(crops) else None
    side = _pixels(crops.size, pixel_size, "crop_size")
    sizes = Sizes(dataset)
    if crops.source == TILES:
        stride = side if crops.stride is None else _pixels(crops.stride, pixel_size, "crop_stride")
        planned = [tiles(sizes, i, side, stride, crops) for i in range(len(dataset))]
        what = TILES
    else:
        find, what = find_objects(source, crops, choices, folder)
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            plan = around_objects(dataset, find, sizes, side, crops)
            planned = list(pool.map(plan, range(len(dataset))))
    return _joined(source, planned, side, pixel_size, crops, what)


def _in_micrometres(crops: Crops) -> bool:
    lengths = [parse_length(crops.size, "crop_size")]
    if crops.stride is not None:
        lengths.append(parse_length(crops.stride, "crop_stride"))
    return any(length.micrometres for length in lengths)


def _pixel_size(source: Source, choices: Choices) -> float:
    found = choices.pixel_size or source.pixel_size or source.dataset[0].pixel_size
    if found is None:
        raise DataError(
            f"{source.dataset.name} does not say how many micrometres a pixel has: give crop_size "
            "(--crop-size) in pixels, or the pixel size (--pixel-size)"
        )
    return found


def _pixels(given: int | str, pixel_size: float | None, name: str) -> int:
    length = parse_length(given, name)
    pixels = round(length.value / pixel_size) if length.micrometres and pixel_size else length.value
    if not 1 <= pixels <= _LARGEST:
        raise DataError(f"{name} is {length}, which are {pixels:g} pixels: 1 to {_LARGEST} can be")
    return int(pixels)


def _joined(
    source: Source,
    planned: Sequence[Planned],
    side: int,
    pixel_size: float | None,
    crops: Crops,
    what: str,
) -> Source:
    """Make the table and the reader of all crops."""
    dataset = source.dataset
    assert dataset.read is not None
    images = np.repeat(np.arange(len(planned)), [len(p.kept) for p in planned])
    if not len(images):
        total = sum(len(p.objects.table) for p in planned)
        why = (
            f"all {total} crops of {side} pixels reach beyond their images: choose a smaller "
            "crop_size (--crop-size), or another edge (--edge)"
            if total
            else f"there are no {what} in its {len(planned)} images"
        )
        raise DataError(f"{dataset.name} has no crops: {why}")
    places = np.concatenate([p.corners[p.kept] for p in planned])
    table = dataset.metadata.iloc[images].reset_index(drop=True)
    rows = [p.objects.table.iloc[p.kept] for p in planned if len(p.kept)]
    own = pd.concat(rows, ignore_index=True).assign(**_boxes(planned, images, places, side))
    table = table.drop(columns=[c for c in own.columns if c in table.columns])
    reasons = np.repeat([p.reason for p in planned], [len(p.kept) for p in planned])
    bad = {int(i): str(reasons[i]) for i in np.flatnonzero(reasons != "")}
    if len(bad) == len(images):
        raise DataError(f"{dataset.name} has no crops: {bad[0]}")
    reader = CropReader(
        dataset.read,
        images,
        places,
        side,
        pixel_size,
        {i: p.objects.mask for i, p in enumerate(planned) if isinstance(p.objects.mask, Path)},
        {i: p.objects.size for i, p in enumerate(planned) if p.objects.size is not None},
        bad,
    )
    length = f"{side} pixels" + (f" ({pixel_size * side:.4g} µm)" if pixel_size else "")
    record = {
        "of": what,
        "side_pixels": side,
        "side_micrometres": pixel_size * side if pixel_size else None,
        "edge": crops.edge,
    }
    return replace(
        source,
        kind=f"crops of {length}, {what}, of {source.kind}",
        dataset=Dataset(dataset.name, pd.concat([table, own], axis=1), reader, crops=record),
        notes=(*source.notes, *_notes(planned, side, crops, what)),
    )


def _boxes(planned: Sequence[Planned], images: Places, places: Places, side: int) -> dict[str, Any]:
    """Return columns of where each crop is, and whether it reaches beyond its image."""
    sizes = np.array([p.objects.size or (side, side) for p in planned])[images]
    beyond = ((places < 0) | (places + side > sizes)).any(axis=1)
    return {LEFT: places[:, 1], TOP: places[:, 0], EDGE: beyond}


def _notes(planned: Sequence[Planned], side: int, crops: Crops, what: str) -> list[str]:
    """Say what was found, what was left out at edges, and which images have nothing."""
    sound = [p for p in planned if not p.reason]
    every = sum(len(p.objects.table) for p in sound)
    kept = sum(len(p.kept) for p in sound)
    notes = [f"{every} {what} in {len(sound)} images"]
    if kept < every:
        hint = "--edge shift or pad keeps them" if crops.edge == "drop" else "--edge pad keeps them"
        notes.append(
            f"{every - kept} of them are left out: a crop of {side} pixels reaches beyond the "
            f"image ({hint})"
        )
    empty = sum(not len(p.objects.table) for p in sound)
    if empty:
        notes.append(f"{empty} images have none")
    tables = [p.objects.table for p in sound if set(BOX) <= set(p.objects.table.columns)]
    large = sum(
        int(((t[BOX[2]] - t[BOX[0]] > side) | (t[BOX[3]] - t[BOX[1]] > side)).sum()) for t in tables
    )
    if large:
        notes.append(f"{large} objects are wider or higher than the crop, and are cut")
    reasons = Counter(p.reason for p in planned if p.reason)
    if reasons:
        first = next(iter(reasons))
        notes.append(f"{sum(reasons.values())} images cannot be used, the first: {first}")
    return notes
