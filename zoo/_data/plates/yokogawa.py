"""Yokogawa CV7000 and CV8000: ``MeasurementData.mlf`` lists the files, one for each channel.

``MeasurementDetail.mrf`` beside it has the plate, the pixel size and the shading images, and the
``.mes`` file the settings of the channels.
"""

import re
from pathlib import Path

from zoo.registry import DataError

from ..._images.pixel_size import in_micrometres, side
from ..tree import Tree
from .by_name import pattern, planes_by_name
from .left_out import reason_of
from .names import canonical_number, canonical_well, well_of
from .plane import Export, Plane
from .xml import attributes, elements, local

KIND = "Yokogawa CV7000 or CV8000"
_NAME = pattern(
    r"""((?P<plate>.+)_)?(?P<well>[A-Z]{1,2}\d{2})_T(?P<time>\d+)F(?P<site>\d+)L(?P<line>\d+)
    A(?P<action>\d+)Z(?P<z>\d+)C(?P<channel>\d+)"""
)
_SHADING = pattern(r"(DC|SC|SHD?)_.*")
_UNLISTED = "files that MeasurementData.mlf does not list"


def find(tree: Tree) -> Export | None:
    """Return the planes of an export; None if the folder holds none."""
    lists = tree.named("MeasurementData.mlf")
    if not lists:
        return planes_by_name(tree, f"{KIND} names without MeasurementData.mlf", _parse)
    export = Export(KIND, [])
    files = {str(p).casefold(): p for p in tree.images}
    shading: set[str] = set()
    for listing in lists:
        shading |= _read_list(listing, files, export, tree)
    used = {p.path for p in export.planes}
    for path in tree.images:
        if path in used:
            continue
        relative = tree.relative(path)
        corrects = path.name.casefold() in shading or _SHADING.fullmatch(path.name)
        reason = "shading images" if corrects else reason_of(relative)
        export.leave_out(reason or _UNLISTED, relative)
    return export


def _read_list(listing: Path, files: dict[str, Path], export: Export, tree: Tree) -> set[str]:
    """Add the planes of one list, and return the names of its shading images."""
    beside = [p for p in tree.files if p.parent == listing.parent]
    plate, sizes, shading = _details(beside)
    stains = _stains(beside)
    for element in elements(listing, "MeasurementRecord"):
        has, name = attributes(element), (element.text or "").strip().replace("\\", "/")
        if has.get("Type", "IMG").upper() != "IMG":
            export.leave_out("images that the instrument could not take", name)
            continue
        try:
            well = well_of(int(has["Row"]), int(has["Column"]))
        except (KeyError, ValueError) as error:
            raise DataError(f"{listing} gives no row and column for {name}") from error
        path = listing.parent / name
        there = files.get(str(path).casefold())
        channel = canonical_number(has.get("Ch", "1"))
        named = _NAME.fullmatch(path.name)
        plane = Plane(
            there or path,
            channel=channel,
            plate=plate or (named and named["plate"]) or listing.parent.name,
            well=well,
            site=canonical_number(has.get("FieldIndex", "1")),
            time=canonical_number(has.get("TimePoint", "1")),
            z=int(has["ZIndex"]) if has.get("ZIndex", "").isdecimal() else None,
            stain=stains.get(channel),
            pixel_size=sizes.get(channel),
        )
        (export.missing if there is None else export.planes).append(plane)
    return shading


def _details(beside: list[Path]) -> tuple[str | None, dict[str, float | None], set[str]]:
    """Return the plate, micrometres by channel, and the names of shading images."""
    plate: str | None = None
    sizes: dict[str, float | None] = {}
    shading: set[str] = set()
    for path in (p for p in beside if p.suffix.lower() in (".mrf", ".wpi")):
        for element in elements(path, "MeasurementSamplePlate", "MeasurementChannel", "WellPlate"):
            has = attributes(element)
            if local(element.tag) != "MeasurementChannel":
                plate = plate or has.get("Name", "").strip() or None
                continue
            channel = canonical_number(has.get("Ch", ""))
            sides = (in_micrometres(has.get(f"{a}PixelDimension"), "µm") for a in _SIDES)
            sizes[channel] = side(*sides)
            shading.add(Path(has.get("ShadingCorrectionSource", "")).name.casefold())
    return plate, sizes, shading


_SIDES = ("Horizontal", "Vertical")


def _stains(beside: list[Path]) -> dict[str, str]:
    """Return names of channels: the dye, else what the settings call the channel."""
    stains: dict[str, str] = {}
    for path in (p for p in beside if p.suffix.lower() == ".mes"):
        for element in elements(path, "Channel"):
            has = attributes(element)
            name = has.get("Fluorophore", "").strip() or has.get("Target", "").strip()
            if name and re.search(r"[A-Za-z0-9]", name):
                stains[canonical_number(has.get("Ch", ""))] = name
    return stains


def _parse(path: Path) -> Plane | str | None:
    found = _NAME.fullmatch(path.name)
    well = canonical_well(found["well"]) if found else None
    if not found or well is None:
        return "shading images" if _SHADING.fullmatch(path.name) else None
    return Plane(
        path,
        channel=canonical_number(found["channel"]),
        plate=found["plate"] or path.parent.name,
        well=well,
        site=canonical_number(found["site"]),
        time=canonical_number(found["time"]),
        z=int(found["z"]),
    )
