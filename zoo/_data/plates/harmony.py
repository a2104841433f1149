"""Opera and Operetta (Phenix, CLS), exported by Harmony: an index, and one TIFF for each channel.

Version 5 writes ``Index.idx.xml`` and says everything in each ``Image``; version 7 writes
``Index.xml`` and keeps what channels have in common in ``Maps/Map/Entry``. The resolution tag of
the TIFF files is wrong: micrometres come from the index alone.
"""

from pathlib import Path
from xml.etree.ElementTree import Element

from zoo.registry import DataError

from ..._images.pixel_size import in_micrometres, side
from ..tree import Tree
from .by_name import pattern, planes_by_name
from .left_out import reason_of
from .names import canonical_number, well_of
from .plane import Export, Plane
from .xml import attributes, children, elements

KIND = "Opera or Operetta (Harmony)"
_INDEXES = ("index.idx.xml", "index.xml")
_UNLISTED = "files that the index does not list"
_NAME = pattern(
    r"""r(?P<row>\d+)c(?P<column>\d+)f(?P<site>\d+)p(?P<z>\d+)-?ch(?P<channel>\d+)
    (t(?P<time>\d+))?(sk(?P<kinetic>\d+))?(fk\d+)?(fl\d+)?\.(tiff?|png|jpe?g|bmp)"""
)


def find(tree: Tree) -> Export | None:
    """Return the planes of an export; None if the folder holds none."""
    indexes: dict[Path, Path] = {}
    for name in _INDEXES:
        for path in tree.named(name):
            if _is_index(path):
                indexes.setdefault(path.parent, path)
    if not indexes:
        return planes_by_name(tree, f"{KIND} names without an index", _parse)
    export = Export(KIND, [])
    files = {str(p).casefold(): p for p in tree.images}
    for index in indexes.values():
        _read_index(index, files, export, tree)
    used = {p.path for p in export.planes}
    for path in tree.images:
        if path not in used:
            relative = tree.relative(path)
            export.leave_out(reason_of(relative) or _UNLISTED, relative)
    return export


def _is_index(path: Path) -> bool:
    """Whether an XML file is an index: others may be called so as well."""
    with path.open("rb") as file:
        start = file.read(4096)
    return not start or b"EvaluationInputData" in start or b"Harmony" in start


def _read_index(index: Path, files: dict[str, Path], export: Export, tree: Tree) -> None:
    plate: str | None = None
    common: dict[str, dict[str, Element]] = {}
    for element in elements(index, "Plate", "Entry", "Image"):
        has = children(element)
        kind = element.tag.rpartition("}")[2]
        if kind == "Plate":
            plate = plate or _text(has, "Name") or _text(has, "PlateID")
        elif kind == "Entry":
            channel = canonical_number(attributes(element).get("ChannelID", ""))
            # Copied, for elements are emptied.
            common.setdefault(channel, {}).update({k: _copy(e) for k, e in has.items()})
        elif "URL" in has:  # images of wells are references without one
            _add(index, has, common, plate, files, export)
    if not export.planes and not export.missing:
        raise DataError(f"{index} lists no images")


def _add(
    index: Path,
    has: dict[str, Element],
    common: dict[str, dict[str, Element]],
    plate: str | None,
    files: dict[str, Path],
    export: Export,
) -> None:
    channel = canonical_number(_text(has, "ChannelID") or "1")
    said = {**common.get(channel, {}), **has}
    url = (_text(has, "URL") or "").replace("\\", "/")
    state = _text(has, "State")
    if state and state.casefold() != "ok":
        export.leave_out("images that the instrument could not take", url)
        return
    try:
        row, column = int(_text(has, "Row") or ""), int(_text(has, "Col") or "")
    except ValueError as error:
        raise DataError(f"{index} gives no row and column for {url}") from error
    places = (index.parent / url, index.parent / "Images" / url)
    there = next((files[str(p).casefold()] for p in places if str(p).casefold() in files), None)
    sides = [in_micrometres(*_length(said.get(f"ImageResolution{a}"))) for a in "XY"]
    depth = _text(has, "PlaneID")
    plane = Plane(
        there or places[0],
        channel=channel,
        plate=plate or index.parent.name,
        well=well_of(row, column),
        site=canonical_number(_text(has, "FieldID") or "1"),
        time=canonical_number(_text(has, "TimepointID") or "0"),
        z=int(depth) if depth and depth.isdecimal() else None,
        stain=_text(said, "ChannelName"),
        pixel_size=side(*sides),
    )
    (export.missing if there is None else export.planes).append(plane)


def _parse(path: Path) -> Plane | str | None:
    found = _NAME.fullmatch(path.name)
    if not found or not int(found["row"]) or not int(found["column"]):
        return None
    return Plane(
        path,
        channel=canonical_number(found["channel"]),
        plate=_folder_of_plate(path),
        well=well_of(int(found["row"]), int(found["column"])),
        site=canonical_number(found["site"]),
        time=canonical_number(found["time"] or found["kinetic"] or "1"),
        z=int(found["z"]),
    )


def _folder_of_plate(path: Path) -> str:
    """Return the name of the plate's folder, ``PLATE__date-Measurement 1/Images``."""
    parent = path.parent
    if parent.name.casefold() == "images":
        parent = parent.parent
    return parent.name.partition("__")[0] or parent.name


def _text(has: dict[str, Element], name: str) -> str | None:
    found = has.get(name)
    text = (found.text or "").strip() if found is not None else ""
    return text or None


def _length(element: Element | None) -> tuple[str | None, str]:
    """Return a number and its unit; metres unless it says another."""
    if element is None:
        return None, "m"
    return element.text, attributes(element).get("Unit") or "m"


def _copy(element: Element) -> Element:
    copied = Element(element.tag, element.attrib)
    copied.text = element.text
    return copied
