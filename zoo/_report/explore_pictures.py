"""Pictures of the items of a table, on sheets of many."""

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import DataError, ZooError

from .._data.crops.cut import cut
from .._data.crops.objects import NUMBER
from .._data.dataset import Dataset
from .._encoders.progress import Progress
from .._images.image import Image
from .._images.read import read_image
from .explore_columns import packed
from .pictures import drawn
from .sampling import spread_out

SIDE = 96
ACROSS = 10
PER_SHEET = 100
Read = Callable[[int], Image]


def reader_of_table(
    table: pd.DataFrame, provenance: Mapping[str, Any], folder: Path
) -> Read | None:
    """Read images from the paths in the column ``image``, relative to `folder` or to where we are.

    None if there is no such column, or the first file is not there.
    """
    if "image" not in table.columns:
        return None
    names = [str(name) for name in table["image"]]
    base = next((b for b in (folder, Path()) if (b / names[0]).is_file()), None)
    if base is None:
        return None
    return _cropped(lambda i: read_image(base / names[i]), table, provenance)


def reader_of_dataset(dataset: Dataset, table: pd.DataFrame, provenance: Mapping[str, Any]) -> Read:
    """Read the images of a table's rows from the dataset that was embedded, by their names.

    Raises
    ------
    DataError
        If no row has the name of an image.
    """
    keys = [c for c in ("image", NUMBER) if c in table.columns and c in dataset.metadata.columns]
    if "image" not in keys and len(dataset) != len(table):
        raise DataError(
            f"the table has {len(table)} rows and no column image, but {dataset.name} has "
            f"{len(dataset)} images: rows and images cannot be matched"
        )
    if "image" not in keys:
        return dataset.__getitem__
    place = {key: i for i, key in enumerate(_rows(dataset.metadata, keys))}
    found = [place.get(key, -1) for key in _rows(table, keys)]
    if max(found) < 0:
        raise DataError(
            f"no row of the table has an image of {dataset.name}: {table['image'].iloc[0]} is not "
            f"there, but {dataset.metadata['image'].iloc[0]} is"
        )

    def read(i: int) -> Image:
        if found[i] < 0:
            raise DataError(f"{table['image'].iloc[i]} is not in {dataset.name}")
        return dataset[found[i]]

    return read if dataset.crops is not None else _cropped(read, table, provenance)


def _rows(table: pd.DataFrame, columns: list[str]) -> list[tuple[str, ...]]:
    return list(table[columns].astype(str).itertuples(index=False, name=None))


def _cropped(read: Read, table: pd.DataFrame, provenance: Mapping[str, Any]) -> Read:
    """Cut the crop of a row out of its image, where the rows are crops."""
    side = dict(provenance.get("crops") or {}).get("side_pixels")
    if side is None or not {"crop_x", "crop_y"} <= set(table.columns):
        return read
    left, top = (table[c].to_numpy() for c in ("crop_x", "crop_y"))
    last: dict[str, Image] = {}

    def cropped(i: int) -> Image:
        name = str(table["image"].iloc[i])
        if name not in last:  # crops of one image follow each other
            last.clear()
            last[name] = read(i)
        image = last[name]
        pixels = cut(image.pixels, int(top[i]), int(left[i]), int(side))
        return Image(pixels, image.stains, image.pixel_size)

    return cropped


def sheets(read: Read, count: int, most: int, progress: Progress) -> dict[str, Any] | None:
    """Draw up to `most` of `count` items, evenly chosen, on sheets of `PER_SHEET`.

    Items that cannot be read have none; None if that is all of them.
    """
    from PIL import Image as Picture

    place = np.full(count, -1, dtype=np.int32)
    made: list[Picture.Image] = []
    chosen: NDArray[np.intp] = spread_out(count, most)
    for done, i in enumerate(chosen.tolist()):
        try:
            picture = drawn(read(i), SIDE)
        except (ZooError, OSError):
            continue
        if picture.size != (SIDE, SIDE):
            picture = _framed(picture)
        place[i] = len(made)
        made.append(picture)
        progress("drawing pictures", done + 1, len(chosen))
    if not made:
        return None
    urls = []
    for start in range(0, len(made), PER_SHEET):
        sheet = Picture.new("RGB", (ACROSS * SIDE, PER_SHEET // ACROSS * SIDE))
        for k, picture in enumerate(made[start : start + PER_SHEET]):
            sheet.paste(picture, (k % ACROSS * SIDE, k // ACROSS * SIDE))
        with io.BytesIO() as out:
            sheet.save(out, "jpeg", quality=82)
            urls.append("data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode())
    return {
        "side": SIDE,
        "across": ACROSS,
        "per_sheet": PER_SHEET,
        "sheets": urls,
        "place": packed(place, "i4"),
        "drawn": len(made),
    }


def _framed(picture: Any) -> Any:
    """Put a picture into the middle of a grey square, small ones enlarged."""
    from PIL import Image as Picture

    ratio = SIDE / max(picture.size)
    size = tuple(max(1, round(side * ratio)) for side in picture.size)
    if size != picture.size:
        picture = picture.resize(size, Picture.Resampling.BILINEAR)
    frame = Picture.new("RGB", (SIDE, SIDE), (236, 239, 242))
    frame.paste(picture, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return frame
