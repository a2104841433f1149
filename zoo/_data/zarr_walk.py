"""What the attributes of OME-Zarr images and plates say, read as JSON; no pixels here.

Version 0.5 keeps everything under ``ome`` in ``zarr.json``, earlier ones keep it at the top of
``.zattrs``. Names of wells, fields and levels are whatever the attributes say.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.registry import DataError

from .._images.pixel_size import in_micrometres, side
from .plates.names import canonical_well

WELLS = "wells that the plate lists and that are not there"
FIELDS = "fields that the plate lists and that are not there"
# Of the specification before axes were named.
_OLD_AXES = "TCZYX"


@dataclass(frozen=True, slots=True)
class ZarrImage:
    """One image: its array, and what its attributes say.

    `member` is its place along the first axis, where an array holds several.
    """

    array: Path
    label: str
    axes: str | None = None
    stains: tuple[str, ...] | None = None
    pixel_size: float | None = None
    plate: str | None = None
    well: str | None = None
    site: str | None = None
    member: int | None = None


def walk(folder: Path, label: str, left_out: dict[str, list[str]]) -> list[ZarrImage]:
    """Return the images of a Zarr group or array; what is listed and missing goes to `left_out`.

    Raises
    ------
    DataError
        If it holds no images, or its attributes cannot be read.
    """
    if is_array(folder):
        return _of_array(folder, label)
    said = attributes(folder)
    if "plate" in said:
        return _of_plate(folder, label, said["plate"], left_out)
    if "well" in said:
        return _of_well(folder, label, said["well"], left_out)
    if "multiscales" in said:
        return [_image(folder, label, said)]
    if "bioformats2raw.layout" in said:
        series = sorted((p for p in folder.iterdir() if p.name.isdecimal()), key=_number)
        images = [i for p in series for i in walk(p, f"{label}/{p.name}", left_out)]
        if images:
            return images
    raise DataError(
        f"{folder} is a Zarr group without images: its attributes name neither multiscales nor a "
        f"plate, but {', '.join(said) or 'nothing'}"
    )


def is_array(folder: Path) -> bool:
    """Whether a Zarr folder is an array, and no group."""
    if (folder / ".zarray").is_file():
        return True
    return _json(folder / "zarr.json").get("node_type") == "array"


def attributes(folder: Path) -> dict[str, Any]:
    """Return the OME attributes of a group; empty if it has none or is not there."""
    said = _json(folder / ".zattrs") or _json(folder / "zarr.json").get("attributes") or {}
    inner = said.get("ome")
    return inner if isinstance(inner, dict) else said


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); is it truncated?") from error
    return found if isinstance(found, dict) else {}


def _of_array(folder: Path, label: str) -> list[ZarrImage]:
    said = _json(folder / ".zarray") or _json(folder / "zarr.json")
    shape = said.get("shape") or []
    names = said.get("dimension_names") or _json(folder / ".zattrs").get("_ARRAY_DIMENSIONS") or []
    axes = "".join(str(n)[:1].upper() for n in names) if len(names) == len(shape) else None
    if axes is not None and not {"Y", "X"} <= set(axes):
        axes = None
    if axes is None and len(shape) == 4:
        return [ZarrImage(folder, f"{label} {i + 1}", member=i) for i in range(shape[0])]
    return [ZarrImage(folder, label, axes)]


def _of_plate(
    folder: Path, label: str, plate: dict[str, Any], left_out: dict[str, list[str]]
) -> list[ZarrImage]:
    name = plate.get("name") or _stem(folder)
    images = []
    for well in plate.get("wells") or []:
        place = str(well.get("path", "")).strip("/")
        said = attributes(folder / place).get("well") if place else None
        if said is None:
            left_out.setdefault(WELLS, []).append(f"{label}/{place}")
        else:
            images += _of_well(folder / place, f"{label}/{place}", said, left_out, str(name))
    if not images:
        raise DataError(f"{folder} is a plate, but none of the wells that it lists is there")
    return images


def _of_well(
    folder: Path,
    label: str,
    well: dict[str, Any],
    left_out: dict[str, list[str]],
    plate: str | None = None,
) -> list[ZarrImage]:
    row, column = folder.parts[-2:]
    images = []
    for number, field in enumerate(well.get("images") or [], 1):
        place = str(field.get("path", "")).strip("/")
        said = attributes(folder / place) if place else {}
        if "multiscales" not in said:
            left_out.setdefault(FIELDS, []).append(f"{label}/{place}")
            continue
        position = (plate or _stem(folder.parent.parent), canonical_well(row + column), str(number))
        images.append(_image(folder / place, f"{label}/{place}", said, *position))
    return images


def _image(
    folder: Path,
    label: str,
    said: dict[str, Any],
    plate: str | None = None,
    well: str | None = None,
    site: str | None = None,
) -> ZarrImage:
    try:
        scales = said["multiscales"][0]
        level = scales["datasets"][0]  # the largest comes first
        path = folder / level["path"]
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"{folder} names no array of full size in its multiscales") from error
    given = scales.get("axes") or list(_OLD_AXES)
    names = [a if isinstance(a, str) else a.get("name", "") for a in given]
    axes = "".join(n[:1].upper() for n in names)
    units = [None if isinstance(a, str) else a.get("unit") for a in given]
    scale = _scale(level, len(axes), _scale(scales, len(axes), [1.0] * len(axes)))
    sides = [
        in_micrometres(scale[axes.index(a)], units[axes.index(a)]) if a in axes and scale else None
        for a in "XY"
    ]
    channels = (said.get("omero") or {}).get("channels") or []
    stains = [c.get("label") for c in channels]
    known = tuple(map(str, stains)) if stains and all(stains) else None
    return ZarrImage(path, label, axes, known, side(*sides), plate, well, site)


def _scale(level: dict[str, Any], count: int, outer: list[float] | None) -> list[float] | None:
    """Return the scale of each axis, times that of what is around; None if there is none."""
    for one in level.get("coordinateTransformations") or []:
        if one.get("type") == "scale" and len(one.get("scale") or []) == count and outer:
            return [float(a) * b for a, b in zip(one["scale"], outer, strict=True)]
    return outer if "datasets" in level else None


def _stem(folder: Path) -> str:
    return folder.name.removesuffix(".zarr").removesuffix(".ome")


def _number(path: Path) -> int:
    return int(path.name)
