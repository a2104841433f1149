"""IncuCyte: exported files with a time in their names, or the instrument's own archive.

Exports are called ``{prefix}_{well}_{site}_{time}.tif``, where the time is ``00d03h30m`` since the
first scan or ``2021y03m04d_12h30m``. A part of the prefix is the channel, or the folder is called
like it. The archive is ``ScanData/{yymm}/{dd}/{hhmm}/{vessel}/{well}-{site}-{channel}.tif``.
"""

import re
from pathlib import Path

from ..tree import Tree
from .by_name import pattern, planes_by_name
from .names import canonical_number, canonical_well
from .plane import Export, Plane
from .suspect import is_stain

KIND = "IncuCyte"
_EXPORTED = pattern(
    r"""(?P<prefix>.+?)_(?P<well>[A-Z]{1,2}\d{1,2})_(?P<site>\d+)
    _(?P<time>\d+d\d+h\d+m|\d{4}y\d+m\d+d_?\d+h\d+m)"""
)
_ARCHIVED = pattern(r"(?P<well>[A-Z]{1,2}\d{1,2})-(?P<site>\d+)-(?P<channel>Ph|P|C\d+)")
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
# Names of analyses, which export their outlines beside the images.
_MASK = re.compile(r"mask|confluence|outline", re.IGNORECASE)


def is_channel(text: str) -> bool:
    """Whether a text is called like a channel."""
    return text.casefold() in _CHANNELS or is_stain(text)


def find(tree: Tree) -> Export | None:
    """Return the planes of an export; None if the folder holds none."""
    names = [(p, found) for p in tree.images if (found := _EXPORTED.fullmatch(p.name))]
    channels = _varying({found["prefix"] for _, found in names})

    def parse(path: Path) -> Plane | str | None:
        return _exported(path, channels) or _archived(path)

    return planes_by_name(tree, KIND, parse)


def _exported(path: Path, channels: dict[str, tuple[str, str]]) -> Plane | str | None:
    found = _EXPORTED.fullmatch(path.name)
    well = canonical_well(found["well"]) if found else None
    if not found or well is None:
        return None
    prefix = found["prefix"]
    plate, channel = channels.get(prefix) or (prefix, "")
    if not channel and is_channel(path.parent.name):
        channel = path.parent.name
    if is_channel(prefix):
        plate, channel = path.parent.name, prefix
    if _MASK.search(channel) or _MASK.search(prefix):
        return "masks"
    return Plane(
        path,
        channel=channel or "image",
        plate=plate,
        well=well,
        site=canonical_number(found["site"]),
        time=found["time"],
        stain=_CHANNELS.get(channel.casefold(), channel) or None,
    )


def _varying(prefixes: set[str]) -> dict[str, tuple[str, str]]:
    """Return plate and channel by prefix, where a part between ``_`` names a channel.

    A part is a channel if it is called like one, or if prefixes differ in it alone and it does not
    end with a number, as plates do.
    """
    found = {}
    parts = {prefix: prefix.split("_") for prefix in prefixes if not _MASK.search(prefix)}
    for prefix, own in parts.items():
        places = [k for k, part in enumerate(own) if is_channel(part)]
        if not places:
            others = [p for p in parts.values() if len(p) == len(own) and p != own]
            differ = [[k for k, part in enumerate(p) if part != own[k]] for p in others]
            places = [k for (k, *more) in differ if not more and not own[k][-1:].isdecimal()]
        if places and len(own) > 1:
            k = places[-1]
            found[prefix] = ("_".join(own[:k] + own[k + 1 :]), own[k])
    return found


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
