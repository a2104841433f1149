"""GE IN Cell Analyzer: ``A - 01(fld 1 wv DAPI - DAPI z 1 tm 1).tif``."""

from pathlib import Path

from ..tree import Tree
from .by_name import pattern, planes_by_name
from .names import canonical_number, canonical_well
from .plane import Export, Plane

KIND = "IN Cell Analyzer"
_NAME = pattern(
    r"""(?P<row>[A-Z]{1,2})\s-\s(?P<column>\d{1,2})\(fld\s(?P<site>\d+)(\swv\s(?P<channel>.+?))?
    (\sz\s(?P<z>\d+))?(\stm\s(?P<time>\d+))?\)"""
)


def find(tree: Tree) -> Export | None:
    """Return the planes of an export; None if the folder holds none."""

    def parse(path: Path) -> Plane | str | None:
        found = _NAME.fullmatch(path.name)
        well = canonical_well(found["row"] + found["column"]) if found else None
        if not found or well is None:
            return None
        return Plane(
            path,
            channel=found["channel"] or "1",
            plate=path.parent.name,
            well=well,
            site=canonical_number(found["site"]),
            time=found["time"],
            z=int(found["z"]) if found["z"] else None,
            stain=found["channel"],
        )

    return planes_by_name(tree, KIND, parse)
