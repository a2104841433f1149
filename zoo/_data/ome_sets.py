"""OME-TIFF: images that are spread over several files, and files that describe several images."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from zoo.registry import DataError

from .._images.tiff import SUFFIXES, first_description
from .plates.names import well_of

_FILE = re.compile(r'\bFileName\s*=\s*"([^"]+)"')
_IMAGE = re.compile(r"<(?:\w+:)?Image\b")
_MASTER = re.compile(r'<(?:\w+:)?BinaryOnly\b[^>]*\bMetadataFile\s*=\s*"([^"]+)"')


_SAMPLE = 20


@dataclass(frozen=True, slots=True)
class OmeItem:
    """One image: its file, and of a file that describes several what is read of it.

    `scene` has the number of the series in the file and of the image in its description, both from
    0; `plate`, `well` and `site` are those of the description.
    """

    path: Path
    name: str | None = None
    scene: tuple[int, int] | None = None
    plate: str | None = None
    well: str | None = None
    site: str | None = None


@dataclass(frozen=True)
class OmeItems:
    """Images of files, the files that belong to others, and images whose files are not there."""

    items: list[OmeItem] = field(default_factory=list)
    parts: list[Path] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def ome_items(paths: list[Path]) -> OmeItems:
    """Return each image of some files once.

    Parameters
    ----------
    paths
        Files of a folder, in order.

    Raises
    ------
    DataError
        If the planes of an image are described in a file of their own, which is not read.
    """
    there = set(paths)
    described = _described(paths)
    parts: set[Path] = set()
    found = OmeItems()
    for path in paths:
        if path in parts:
            continue
        text = first_description(path) if path in described else ""
        master = _MASTER.search(text)
        if master is not None:
            if path.parent / master[1] not in there:
                raise DataError(_without_master(path, master[1]))
            parts.add(path)
            continue
        ome = "<OME" in text or ":OME" in text
        # Of files that each describe the whole set the first stands for it.
        named = {path.parent / name for name in _FILE.findall(text)} if ome else set()
        parts |= named & there - {path}
        if ome and len(_IMAGE.findall(text)) > 1:
            found.items.extend(_images(path, text, there, found.missing))
        else:
            found.items.append(OmeItem(path))
    found.parts.extend(p for p in paths if p in parts)
    found.items[:] = [item for item in found.items if item.path not in parts]
    return found


def _described(paths: list[Path]) -> set[Path]:
    """Return the TIFF files that may have an OME description.

    By their names; others by a few of them, for opening all files of a large folder takes minutes.
    """
    tiffs = [p for p in paths if p.suffix.lower() in SUFFIXES]
    others = [p for p in tiffs if ".ome." not in p.name.lower()]
    sample = others[:: len(others) // _SAMPLE + 1]
    if any("OME" in first_description(p)[:2000] for p in sample):
        return set(tiffs)
    return set(tiffs) - set(others)


def _images(path: Path, text: str, there: set[Path], missing: list[str]) -> list[OmeItem]:
    """Return the images that the description of a file lists."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:  # said when the file is read
        return [OmeItem(path)]
    positions = _positions(root)
    items: list[OmeItem] = []
    for number, image in enumerate(root.findall("{*}Image")):
        name = image.get("Name") or str(number + 1)
        files = {path.parent / u.get("FileName", "") for u in image.iterfind(".//{*}UUID")}
        if files and not files & there:
            missing.append(f"{path.name} {name}")
            continue
        position = positions.get(image.get("ID", ""), (None, None, None))
        items.append(OmeItem(path, name, (len(items), number), *position))
    return items


def _positions(root: ElementTree.Element) -> dict[str, tuple[str | None, str, str]]:
    """Return plate, well and site by the identifier of an image."""
    found = {}
    for plate in root.findall("{*}Plate"):
        for well in plate.findall("{*}Well"):
            place = well_of(int(well.get("Row", 0)) + 1, int(well.get("Column", 0)) + 1)
            for site, sample in enumerate(well.findall("{*}WellSample"), 1):
                reference = sample.find("{*}ImageRef")
                if reference is not None:
                    name = plate.get("Name") or plate.get("ID")
                    found[reference.get("ID", "")] = (name, place, str(site))
    return found


def _without_master(path: Path, master: str) -> str:
    known = Path(master).suffix.lower() in SUFFIXES
    return (
        f"{path} is one file of an image that {master} describes, which is not "
        f"{'there' if known else 'read'}: save the image as one OME-TIFF"
    )
