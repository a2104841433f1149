"""Olympus scanR: one TIFF for each channel, and ``experiment_descriptor.xml`` beside ``data/``.

Files are called ``{label}--W00001--P00001--Z00000--T00000--{channel}.tif``. The descriptor has the
label of each well number, the plate and the pixel size.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from xml.etree.ElementTree import Element

from ..._images.pixel_size import in_micrometres
from ..tree import Tree
from .by_name import pattern, planes_by_name
from .names import canonical_number, canonical_well
from .plane import Export, Plane
from .xml import children, whole

KIND = "scanR"
_NAME = pattern(
    r"""((?P<label>.+?)--)?W(?P<well>\d+)--P(?P<site>\d+)(--Z(?P<z>\d+))?(--T(?P<time>\d+))?
    --(?P<channel>.+)"""
)
_DESCRIPTOR = "experiment_descriptor.xml"


@dataclass(frozen=True)
class _Descriptor:
    plate: str | None = None
    pixel_size: float | None = None
    wells: dict[str, str] = field(default_factory=dict)


def find(tree: Tree) -> Export | None:
    """Return the planes of an export; None if the folder holds none."""
    descriptors = {p.parent: p for p in tree.named(_DESCRIPTOR)}

    @cache
    def descriptor(folder: Path) -> _Descriptor:
        near = next((descriptors[p] for p in (folder, *folder.parents) if p in descriptors), None)
        return _Descriptor() if near is None else _described(near)

    def parse(path: Path) -> Plane | str | None:
        found = _NAME.fullmatch(path.name)
        if not found:
            return None
        said = descriptor(path.parent)
        number = canonical_number(found["well"])
        well = canonical_well(said.wells.get(number) or found["label"] or "")
        return Plane(
            path,
            channel=found["channel"],
            plate=said.plate or _plate_of(path),
            well=well,
            # The same number is another well on a plate of another size.
            name=None if well else f"W{number}",
            site=canonical_number(found["site"]),
            time=canonical_number(found["time"] or "0"),
            z=int(found["z"] or 0),
            stain=found["channel"],
            pixel_size=said.pixel_size,
        )

    return planes_by_name(tree, KIND, parse, sure=bool(descriptors))


def _plate_of(path: Path) -> str:
    parent = path.parent
    return (parent.parent if parent.name.casefold() == "data" else parent).name


def _described(path: Path) -> _Descriptor:
    """Return what a descriptor says: values by names, wells as a number and then a label."""
    plate: str | None = None
    size: float | None = None
    wells: dict[str, str] = {}
    number = ""
    for names, value in _values(whole(path), ()):
        if names[-1] == "plate name":
            plate = plate or value or None
        elif names[-1] == "conversion factor um/pixel":
            size = in_micrometres(value, "µm")
        elif value and any(name.startswith("well selection table") for name in names):
            if value[0].isdecimal():
                number = canonical_number(value)
            elif number:
                wells[number] = value
    return _Descriptor(plate, size, wells)


def _values(element: Element, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the values below an element with the names of what is around them."""
    has = children(element)
    if "Name" in has:
        # Members of a list have its name, or none of their own.
        own = (has["Name"].text or "").strip().casefold()
        names = (*names, own) if own else names
    if "Val" in has and names:
        yield names, (has["Val"].text or "").strip()
    for child in element:
        yield from _values(child, names)
