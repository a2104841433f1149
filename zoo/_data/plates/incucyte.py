"""IncuCyte: exported files with a time in their names, or the instrument's own archive.

Exports are called ``{prefix}_{well}_{site}_{time}.tif``, where the time is ``00d03h30m`` since the
first scan or ``2021y03m04d_12h30m``. The prefix ends with the channel, or the folder is called like
it. The archive is ``ScanData/{yymm}/{dd}/{hhmm}/{vessel}/{well}-{site}-{channel}.tif``.
"""

import re
from pathlib import Path

from ..tree import Tree
from .by_name import pattern, planes_by_name
from .names import canonical_number, canonical_well
from .plane import Export, Plane

KIND = "IncuCyte"
_EXPORTED = pattern(
    r"""(?P<prefix>.+?)_(?P<well>[A-Z]{1,2}\d{1,2})_(?P<site>\d+)
    _(?P<time>\d+d\d+h\d+m|\d{4}y\d+m\d+d_?\d+h\d+m)\.(tiff?|png|jpe?g)"""
)
_ARCHIVED = pattern(
    r"(?P<well>[A-Z]{1,2}\d{1,2})-(?P<site>\d+)-(?P<channel>Ph|P|C\d+)\.(tiff?|jpe?g)"
)
_STAINS = {"ph": "Phase", "p": "Phase", "c1": "Green", "c2": "Red"}
_CHANNELS = {
    name.casefold(): name
    for name in (
        "Phase",
        "Brightfield",
        "Green",
        "Red",
        "Orange",
        "NIR",
        "Blue",
        "Yellow",
        "HD Phase",
    )
}
_MASK = re.compile(r"mask|confluence|outline", re.IGNORECASE)


def find(tree: Tree) -> Export | None:
    """Return the planes of an export; None if the folder holds none."""

    def parse(path: Path) -> Plane | str | None:
        return _exported(path) or _archived(path)

    return planes_by_name(tree, KIND, parse)


def _exported(path: Path) -> Plane | str | None:
    found = _EXPORTED.fullmatch(path.name)
    well = canonical_well(found["well"]) if found else None
    if not found or well is None:
        return None
    prefix, channel = _channel(found["prefix"], path.parent.name)
    if _MASK.search(channel):
        return "masks"
    return Plane(
        path,
        channel=channel,
        plate=prefix,
        well=well,
        site=canonical_number(found["site"]),
        time=found["time"],
        stain=_CHANNELS.get(channel.casefold(), channel) or None,
    )


def _channel(prefix: str, folder: str) -> tuple[str, str]:
    """Return the plate and the channel of a prefix, ``VID12_Phase``."""
    first, separator, last = prefix.rpartition("_")
    if separator and (last.casefold() in _CHANNELS or _MASK.search(last)):
        return first, last
    if prefix.casefold() in _CHANNELS:
        return folder, prefix
    if folder.casefold() in _CHANNELS or _MASK.search(folder):
        return prefix, folder
    return prefix, "image"


def _archived(path: Path) -> Plane | None:
    found = _ARCHIVED.fullmatch(path.name)
    well = canonical_well(found["well"]) if found else None
    folders = path.parts[-5:-1]
    if not found or well is None or len(folders) < 4 or not all(f.isdecimal() for f in folders):
        return None
    month, day, time, vessel = folders
    channel = found["channel"]
    return Plane(
        path,
        channel=channel,
        plate=vessel,
        well=well,
        site=canonical_number(found["site"]),
        time=f"20{month[:2]}y{month[2:]}m{day}d_{time[:2]}h{time[2:]}m",
        stain=_STAINS.get(channel.casefold()),
    )
