"""Exports whose file names say everything: what formats with such names share."""

import re
from collections.abc import Callable
from pathlib import Path

from ..tree import Tree
from .left_out import reason_of, reason_of_folder
from .plane import Export, Plane

# Exports are TIFF, and often converted to others by their names.
SUFFIX = r"\.(tiff?|png|jpe?g|bmp)"
OTHER = "files whose names are not of this format"
# Of a format that most files are of, some of so many are.
_SAMPLE = 200
# Returns the plane of a file, the reason why it is none, or None if the name is not of the format.
Parser = Callable[[Path], Plane | str | None]


def planes_by_name(tree: Tree, kind: str, parse: Parser, *, sure: bool = False) -> Export | None:
    """Return the planes of all files whose names a parser knows.

    None if there are none, or, unless other files make the format `sure`, if most files that could
    be images have other names.
    """
    if not sure and not any(map(parse, tree.images[:: len(tree.images) // _SAMPLE + 1])):
        return None
    parsed = [parse(path) for path in tree.images]
    if not any(isinstance(found, Plane) for found in parsed):
        return None
    export = Export(kind, [])
    for path, found in zip(tree.images, parsed, strict=True):
        relative = tree.relative(path)
        reason = reason_of_folder(relative.rpartition("/")[0])
        if isinstance(found, Plane) and reason is None:
            export.planes.append(found)
        else:
            said = found if isinstance(found, str) else None
            export.leave_out(reason or said or reason_of(relative) or OTHER, relative)
    if not sure and len(export.planes) <= len(export.left_out.get(OTHER, ())):
        return None
    return export if export.planes else None


def pattern(text: str) -> re.Pattern[str]:
    """Compile a verbose pattern of whole file names but for their ends, in any case of letters."""
    return re.compile(text + SUFFIX, re.IGNORECASE | re.VERBOSE)
