"""Names of files by a pattern of the user's own, ``{plate}_{well}_s{site}_w{channel}.tif``."""

import re
from unicodedata import normalize

from zoo.registry import DataError

from ..tree import Tree
from .left_out import reason_of
from .names import canonical_number, canonical_well, well_of_text
from .plane import Export, Plane

_FIELDS = {
    "plate": r"[^/]+",
    "well": r"[A-Za-z]{1,2}[ _-]?\d{1,3}",
    "row": r"[A-Za-z]{1,2}|\d{1,2}",
    "column": r"\d{1,3}",
    "site": r"[A-Za-z0-9]+",
    "channel": r"[^/]+?",
    "z": r"\d+",
    "time": r"[A-Za-z0-9.]+",
    "name": r"[^/]+?",
    "*": r"[^/]*?",
}
EXAMPLE = "'{plate}_{well}_s{site}_w{channel}.tif'"


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern; a field that comes twice must have the same text at both places.

    Raises
    ------
    DataError
        For a field that is unknown, or a pattern without fields.
    """
    parts, seen = [], set()
    for literal, name in re.findall(r"([^{}]*)(?:\{([^{}]*)\})?", text):
        parts.append(re.escape(literal))
        if not name:
            continue
        if name not in _FIELDS:
            raise DataError(
                f"the pattern {text!r} has the field {{{name}}}, but the fields are "
                + ", ".join(f"{{{f}}}" for f in _FIELDS)
            )
        if name == "*":
            parts.append(_FIELDS[name])
        else:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{_FIELDS[name]})")
        seen.add(name)
    if not seen - {"*", "channel"}:
        raise DataError(
            f"the pattern {text!r} names nothing that tells images apart: use fields such as "
            f"{EXAMPLE}"
        )
    return re.compile("".join(parts), re.IGNORECASE)


def planes_by_pattern(tree: Tree, text: str) -> Export:
    """Return the planes of all files that fit a pattern.

    A pattern with ``/`` is that of the end of the path, others of the file's name. Without
    ``{channel}`` a file holds all channels of an image.

    Raises
    ------
    DataError
        If no file fits, or a well is none.
    """
    compiled = compile_pattern(normalize("NFC", text))
    depth = text.count("/")
    export = Export(f"files named {text}", [])
    for path in tree.images:
        relative = tree.relative(path)
        # Umlauts have two spellings, and file systems choose.
        end = normalize("NFC", "/".join(relative.split("/")[-depth - 1 :]))
        found = compiled.fullmatch(end)
        if found is None:
            reason = reason_of(relative) or "files whose names do not fit the pattern"
            export.leave_out(reason, relative)
        else:
            export.planes.append(_plane(found.groupdict(), tree, relative, text))
    if not export.planes:
        names = ", ".join(tree.relative(p) for p in tree.images[:3])
        raise DataError(
            f"no file of {tree.folder} is named {text!r}; the first images are {names or 'none'}"
        )
    return export


def _plane(found: dict[str, str], tree: Tree, relative: str, text: str) -> Plane:
    well = found.get("well")
    if well is not None:
        well = canonical_well(well)
    elif "row" in found and "column" in found:
        well = well_of_text(found["row"], found["column"])
    if well is None and {"well", "row"} & set(found):
        raise DataError(f"the pattern {text!r} finds no well such as A01 in {relative}")
    channel = found.get("channel", "")
    site = found.get("site")
    return Plane(
        tree.folder / relative,
        channel=canonical_number(channel),
        plate=found.get("plate"),
        well=well,
        site=canonical_number(site) if site else None,
        time=found.get("time"),
        name=found.get("name"),
        z=int(found["z"]) if "z" in found else None,
        stain=None if channel.isdecimal() else channel or None,
    )
