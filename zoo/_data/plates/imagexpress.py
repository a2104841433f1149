"""ImageXpress (MetaXpress): one TIFF for each wavelength, and a ``.HTD`` file for each plate.

Files are called ``{plate}_{well}_s{site}_w{n}{GUID}.tif``, in folders ``TimePoint_n`` and
``ZStep_n``. What is not varied may be absent from the name; without a plate the folder names it.
"""

import os
import re
from functools import cache
from pathlib import Path

from ..tree import Tree
from .by_name import pattern, planes_by_name
from .names import canonical_number, canonical_well
from .plane import Export, Plane

KIND = "ImageXpress (MetaXpress)"
_NAME = pattern(
    r"""((?P<plate>.+?)_)??(?P<well>(?![SWZT]\d(?!\d))[A-Z]{1,2}\d{1,2})
    (_s(?P<site>\d+))?(?P<thumb1>_thumb)?(_w(?P<wave>\d+))?(?P<thumb2>_thumb)?
    (_z(?P<z>\d+))?(_t(?P<time>\d+))?(?P<thumb3>_thumb)?
    _?([0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12})?"""
)
_ENTRY = re.compile(r'\s*"([^"]+)"\s*,\s*"?([^"\r\n]*?)"?\s*$', re.MULTILINE)
_PROJECTIONS = "projections by the instrument, beside their planes in depth"


def find(tree: Tree) -> Export | None:
    """Return the planes of an export; None if the folder holds none."""
    infos = [p for p in tree.files if p.suffix.lower() == ".htd"]

    @cache
    def info(folder: str, plate: str) -> dict[str, str]:
        """Return the settings of a plate: those of the nearest folder, by the name of the plate."""
        near = [p for p in infos if Path(folder).is_relative_to(p.parent)]
        near = [p for p in near if len(p.parts) == max(len(q.parts) for q in near)]
        own = [p for p in near if p.stem.casefold() == plate.casefold()] or near
        found = [_settings(p) for p in own]
        # Settings of several other plates say something if they agree.
        return found[0] if found and all(f == found[0] for f in found) else {}

    def parse(path: Path) -> Plane | str | None:
        found = _NAME.fullmatch(path.name)
        if not found:
            return None
        if found["thumb1"] or found["thumb2"] or found["thumb3"]:
            return "thumbnails"
        well = canonical_well(found["well"])
        folder = os.path.dirname(path)  # noqa: PTH120  # text is hashed ten times as fast as a Path
        plate = found["plate"] or _folder_of_plate(folder)
        said = info(folder, plate)
        # Without a wavelength in the name it is anybody's file, unless there was one only.
        if well is None or (found["wave"] is None and said.get("nwavelengths") != "1"):
            return None
        wave = canonical_number(found["wave"] or "1")
        depth = found["z"] or _numbered(folder, "ZStep")
        time = found["time"] or _numbered(folder, "TimePoint")
        return Plane(
            path,
            channel=wave,
            plate=plate,
            well=well,
            site=canonical_number(found["site"] or "1"),
            time=canonical_number(time) if time else None,
            z=int(depth) if depth and int(depth) else None,
            stain=said.get(f"wavename{wave}") or None,
        )

    export = planes_by_name(tree, KIND, parse, sure=bool(infos))
    return None if export is None else _without_projections(export, tree)


def _without_projections(export: Export, tree: Tree) -> Export:
    """Leave out files without depth of channels that have planes in depth as well."""
    deep = {_channel(p) for p in export.planes if p.z is not None}
    if not deep:
        return export
    flat = [p for p in export.planes if p.z is None and _channel(p) in deep]
    for plane in flat:
        export.leave_out(_PROJECTIONS, tree.relative(plane.path))
    export.planes[:] = [p for p in export.planes if p.z is not None or _channel(p) not in deep]
    return export


def _channel(plane: Plane) -> tuple[str | None, ...]:
    return plane.plate, plane.well, plane.site, plane.time, plane.channel


@cache
def _folder_of_plate(folder: str) -> str:
    """Return the name of the nearest folder that is none of a time point or depth."""
    named = [
        p for p in Path(folder).parts if not re.match(r"(TimePoint|ZStep)_?\d+$", p, re.IGNORECASE)
    ]
    return named[-1]


@cache
def _numbered(folder: str, name: str) -> str | None:
    """Return the number of the nearest folder of a name, such as 3 of ``ZStep_3``."""
    for part in reversed(Path(folder).parts):
        found = re.fullmatch(rf"{name}_?(\d+)", part, re.IGNORECASE)
        if found:
            return found[1]
    return None


def _settings(path: Path) -> dict[str, str]:
    """Return the entries of a ``.HTD`` file by their names in lower case."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return {key.casefold(): value.strip() for key, value in _ENTRY.findall(text)}
