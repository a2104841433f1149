"""Cellomics ArrayScan, as exported to TIFF: ``{plate}_{well}f{site}d{channel}.tif``."""

from pathlib import Path

from ..tree import Tree
from .by_name import pattern, planes_by_name
from .names import canonical_number, canonical_well
from .plane import Export, Plane

KIND = "Cellomics ArrayScan"
_NAME = pattern(r"(?P<plate>.+)_(?P<well>[A-Z]{1,2}\d{2})f(?P<site>\d+)d(?P<channel>\d+)")


def find(tree: Tree) -> Export | None:
    """Return the planes of an export; None if the folder holds none."""

    def parse(path: Path) -> Plane | str | None:
        found = _NAME.fullmatch(path.name)
        well = canonical_well(found["well"]) if found else None
        if not found or well is None:
            return None
        return Plane(
            path,
            channel=canonical_number(found["channel"]),
            plate=found["plate"],
            well=well,
            site=canonical_number(found["site"]),
        )

    return planes_by_name(tree, KIND, parse)
