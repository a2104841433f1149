"""From planes to images: by plate, well, site and time; refused where something is missing."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import pandas as pd

from zoo.registry import DataError

from ..._images.projection import CHOICE
from ..choices import Choices
from ..dataset import Dataset
from ..source import Source
from ..tree import Tree
from .names import natural
from .plane import Export, Plane
from .reader import Field, FieldReader

Key = tuple[str | None, str | None, str | None, str | None, str | None]
_NOT_THERE = "files that the export lists and that are not there"
# So many examples are named in a message.
_NAMED = 3


@dataclass(frozen=True)
class _Group:
    """Planes of one image, by channel, in order of depth."""

    key: Key
    channels: dict[str, list[Plane]]


def group(export: Export, tree: Tree, choices: Choices) -> Source:
    """Group the planes of an export to images.

    Raises
    ------
    DataError
        If an image lacks channels or depths that others of its plate have, two files are the same
        channel of one image, or depth needs a choice.
    """
    what = f"{tree.folder} ({export.kind})"
    if not export.planes:
        raise DataError(_without_files(export, what, tree))
    export = _without_single_time(export)
    groups = _grouped(export.planes, what, tree)
    _add_missing(export, groups, tree)
    ordered = sorted(groups.values(), key=lambda g: tuple(map(natural, _order(g.key))))
    _check_channels(ordered, what)
    depths = _check_depth(ordered, what, choices)
    named = [_stains(g, choices) for g in ordered]
    fields = [_field(g, names, choices) for g, names in zip(ordered, named, strict=True)]
    stains = set(named)
    sizes = {f.pixel_size for f in fields}
    notes = []
    if depths > 1:
        notes.append(f"{depths} planes in depth, joined by {choices.z}")
    return Source(
        export.kind,
        Dataset(tree.folder.resolve().name, _table(ordered), FieldReader(fields, choices)),
        left_out=export.left_out,
        notes=tuple(notes),
        stains=next(iter(stains)) if len(stains) == 1 else None,
        pixel_size=next(iter(sizes)) if len(sizes) == 1 else None,
        aliases=frozenset(p.channel for p in export.planes if p.stain is None),
    )


def _without_files(export: Export, what: str, tree: Tree) -> str:
    """Say what an export lists of which no file is there."""
    if not export.missing:
        return f"{what} has no images, only {said_left_out(export.left_out)}"
    images = {(p.plate, p.well, p.site, p.time, p.name) for p in export.missing}
    channels = {p.stain or p.channel: None for p in export.missing}
    sizes = {f"{p.pixel_size:.4g} µm per pixel" for p in export.missing if p.pixel_size}
    files = ", ".join(tree.relative(p.path) for p in export.missing[:_NAMED])
    return (
        f"{what} lists {len(export.missing)} files of {len(images)} images with the channels "
        f"{', '.join([*channels, *sorted(sizes)])}, but none of them is there: {files}"
    )


def _without_single_time(export: Export) -> Export:
    """Drop the time where all planes have the same."""
    times = {p.time for p in (*export.planes, *export.missing)}
    if len(times) > 1 or times == {None}:
        return export
    return replace(
        export,
        planes=[replace(p, time=None) for p in export.planes],
        missing=[replace(p, time=None) for p in export.missing],
    )


def said_left_out(left_out: dict[str, list[str]]) -> str:
    """Return the numbers of files by the reason, with an example of each."""
    return "; ".join(
        f"{len(files)} {reason} ({files[0]}{', …' if len(files) > 1 else ''})"
        for reason, files in left_out.items()
    )


def _grouped(planes: Iterable[Plane], what: str, tree: Tree) -> dict[Key, _Group]:
    groups: dict[Key, _Group] = {}
    for plane in planes:
        key = (plane.plate, plane.well, plane.site, plane.time, plane.name)
        found = groups.setdefault(key, _Group(key, {}))
        found.channels.setdefault(plane.channel, []).append(plane)
    for one in groups.values():
        for channel, planes_of in one.channels.items():
            planes_of.sort(key=lambda p: p.z or 0)
            same = [(a, b) for a, b in pairwise(planes_of) if a.z == b.z]
            if same:
                first, second = (tree.relative(p.path) for p in same[0])
                raise DataError(
                    f"{what} has two files for channel {channel or 'all'} of {label(one.key)}: "
                    f"{first} and {second}; open one of their folders, or name what tells them "
                    "apart with --pattern"
                )
    return groups


def _add_missing(export: Export, groups: dict[Key, _Group], tree: Tree) -> None:
    """Leave out images of which no file is there; files of others are missing from their group."""
    for plane in export.missing:
        key = (plane.plate, plane.well, plane.site, plane.time, plane.name)
        if key not in groups:
            export.leave_out(_NOT_THERE, tree.relative(plane.path))
        elif plane.channel not in groups[key].channels:
            groups[key].channels[plane.channel] = []
        else:
            raise DataError(
                f"{tree.folder} ({export.kind}) lists {tree.relative(plane.path)}, which is not "
                f"there, but other planes of {label(key)} are"
            )


def _check_channels(groups: list[_Group], what: str) -> None:
    wanted: dict[str | None, set[str]] = {}
    for one in groups:
        wanted.setdefault(one.key[0], set()).update(one.channels)
    lacking = [
        (one, sorted((c for c in wanted[one.key[0]] if not one.channels.get(c)), key=natural))
        for one in groups
    ]
    bad = [(one, missing) for one, missing in lacking if missing]
    if not bad:
        return
    examples = "; ".join(
        f"{label(one.key)} has {_channels(c for c, p in one.channels.items() if p)}, not "
        f"{_channels(missing)}"
        for one, missing in bad[:_NAMED]
    )
    raise DataError(
        f"{what} has {len(groups)} images, but {len(bad)} of them lack(s) channels: {examples}"
        f"{'; …' if len(bad) > _NAMED else ''}. Restore these files, or move what is left of "
        "these images elsewhere"
    )


def _check_depth(groups: list[_Group], what: str, choices: Choices) -> int:
    """Return the largest number of planes in depth."""
    counts: dict[tuple[str | None, str], dict[int, Key]] = {}
    for one in groups:
        for channel, planes in one.channels.items():
            counts.setdefault((one.key[0], channel), {}).setdefault(len(planes), one.key)
    for (_, channel), found in counts.items():
        if len(found) > 1:
            few, many = min(found), max(found)
            raise DataError(
                f"{what} has {many} planes in depth for channel {channel or 'all'} of "
                f"{label(found[many])}, but {few} for {label(found[few])}: restore these files, "
                "or move what is left of these images elsewhere"
            )
    depth = max(count for found in counts.values() for count in found)
    if depth > 1 and choices.z is None:
        raise DataError(f"{what} has {depth} planes in depth for each image: {CHOICE}")
    return depth


def _stains(one: _Group, choices: Choices) -> tuple[str, ...] | None:
    """Return the names of an image's channels, in their order; None unless all have one."""
    firsts = [one.channels[c][0] for c in sorted(one.channels, key=natural)]
    names = [p.stain or choices.stains.get(p.channel) for p in firsts]
    return tuple(str(n) for n in names) if all(names) else None


def _field(one: _Group, stains: tuple[str, ...] | None, choices: Choices) -> Field:
    channels = sorted(one.channels, key=natural)
    if stains is not None and choices.channels:  # the others need not be read
        renamed = [choices.stains.get(name, name) for name in stains]
        places = [renamed.index(c) for c in choices.channels if c in renamed]
        channels = [channels[k] for k in places]
        stains = tuple(stains[k] for k in places)
    sizes = {one.channels[c][0].pixel_size for c in channels}
    return Field(
        label(one.key),
        tuple(tuple(p.path for p in one.channels[c]) for c in channels),
        stains,
        next(iter(sizes)) if len(sizes) == 1 else None,
        whole=channels == [""],
    )


def _table(groups: list[_Group]) -> pd.DataFrame:
    columns: dict[str, list[str | None]] = {"image": [label(g.key) for g in groups]}
    for place, part in enumerate(("Plate", "Well", "Site", "Timepoint", "Name")):
        values = [g.key[place] for g in groups]
        if any(v is not None for v in values):
            columns[f"Metadata_{part}"] = values
    return pd.DataFrame(columns)


def label(key: Key) -> str:
    """Return the name of an image: plate, well, site and time."""
    plate, well, site, time, name = key
    parts = [plate, well, site and f"s{site}", time and f"t{time}", name]
    return "/".join(p for p in parts if p)


def _order(key: Key) -> Key:
    plate, well, site, time, name = key
    return plate, well, site, name, time


def _channels(names: Iterable[str]) -> str:
    return ", ".join(f"channel {n}" for n in sorted(names, key=natural)) or "none"
