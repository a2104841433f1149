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
from .xml import attributes, children, elements, local

KIND = "Opera or Operetta (Harmony)"
_INDEXES = ("index.idx.xml", "index.xml", "index.ref.xml")
_WANTED = {
    *("URL", "State", "Row", "Col", "FieldID", "PlaneID", "TimepointID", "ChannelID"),
    *("ChannelName", "ImageResolutionX", "ImageResolutionY"),
}
_UNLISTED = "files that the index does not list"
_NAME = pattern(
    r"""r(?P<row>\d+)c(?P<column>\d+)f(?P<site>\d+)p(?P<z>\d+)-?ch(?P<channel>\d+)
    (t(?P<time>\d+))?(sk(?P<kinetic>\d+))?(fk\d+)?(fl\d+)?"""
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
        _read_index(index, files, export)
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


def _read_index(index: Path, files: dict[str, Path], export: Export) -> None:
    plate: str | None = None
    common: dict[str, dict[str, str]] = {}
    images: list[dict[str, str]] = []
    for element in elements(index, "Plate", "Entry", "Image"):
        said = {name: _text(child) for name, child in children(element).items()}
        kind = local(element.tag)
        if kind == "Plate":
            plate = plate or said.get("Name") or said.get("PlateID")
        elif kind == "Entry":
            channel = canonical_number(attributes(element).get("ChannelID", ""))
            common.setdefault(channel, {}).update({k: v for k, v in said.items() if k in _WANTED})
        elif "URL" in said:  # images of wells are references without one
            images.append({k: v for k, v in said.items() if k in _WANTED})
    if not images:
        raise DataError(f"{index} lists no images")
    for said in images:
        channel = canonical_number(said.get("ChannelID") or "1")
        _add(index, {**common.get(channel, {}), **said}, channel, plate, files, export)


def _add(
    index: Path,
    said: dict[str, str],
    channel: str,
    plate: str | None,
    files: dict[str, Path],
    export: Export,
) -> None:
    url = said["URL"].replace("\\", "/")
    if said.get("State", "ok").casefold() != "ok":
        export.leave_out("images that the instrument could not take", url)
        return
    try:
        well = well_of(int(said["Row"]), int(said["Col"]))
    except (KeyError, ValueError) as error:
        raise DataError(f"{index} gives no row and column for {url}") from error
    places = (index.parent / url, index.parent / "Images" / url)
    there = next((files[str(p).casefold()] for p in places if str(p).casefold() in files), None)
    sides = [in_micrometres(*_length(said.get(f"ImageResolution{a}"))) for a in "XY"]
    depth = said.get("PlaneID", "")
    plane = Plane(
        there or places[0],
        channel=channel,
        plate=plate or _folder_of_plate(index),
        well=well,
        site=canonical_number(said.get("FieldID") or "1"),
        time=canonical_number(said.get("TimepointID") or "0"),
        z=int(depth) if depth.isdecimal() else None,
        stain=said.get("ChannelName"),
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


def _text(element: Element) -> str:
    """Return the text of an element; of a length with its unit, metres unless it says another."""
    text = (element.text or "").strip()
    unit = attributes(element).get("Unit", "m" if "Resolution" in element.tag else "")
    return f"{text} {unit}" if text and "Resolution" in element.tag else text


def _length(text: str | None) -> tuple[str | None, str]:
    number, _, unit = (text or "").partition(" ")
    return number or None, unit
