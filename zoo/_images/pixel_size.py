"""Micrometres of a pixel's side, and stain names, where a TIFF says them.

The resolution tags alone are no source: those of an Opera Phenix are wrong by a factor of ten. They
count where ImageJ names their unit.
"""

import re
from typing import Any
from xml.etree import ElementTree

_MICROMETRES = {
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "angstrom": 1e-4,
    "å": 1e-4,
    "inch": 25400.0,
    "in": 25400.0,
}
# Two sides that differ by more are no square pixels.
_SQUARE = 0.01


def in_micrometres(value: Any, unit: str | None) -> float | None:
    """Return a length in micrometres; None if the unit is none of length or the value no number."""
    factor = _MICROMETRES.get(str(unit).strip().casefold()) if unit else None
    try:
        size = float(value) * factor if factor else 0.0
    except (TypeError, ValueError):
        return None
    return size if 0 < size < float("inf") else None


def side(x: float | None, y: float | None) -> float | None:
    """Return the side of square pixels; None if they are not square or unknown."""
    if x is None or y is None:
        return x or y
    return x if abs(x - y) <= _SQUARE * x else None


def tiff_pixel_size(file: Any, image: int = 0) -> float | None:
    """Return micrometres per pixel of an open TIFF, by its OME, ImageJ, MetaXpress or SVS text.

    `image` is the number of an image in an OME text, from 0.
    """
    if file.is_ome:
        return _ome_size(ome_pixels(file.ome_metadata, image))
    if file.is_imagej:
        return _imagej_size(file)
    text = file.pages.first.description
    said = _metaxpress(text)
    if said.get("spatial-calibration-state", "on").lower() in ("on", "true", "1"):
        unit = said.get("spatial-calibration-units")
        x, y = (in_micrometres(said.get(f"spatial-calibration-{a}"), unit) for a in "xy")
        if x or y:
            return side(x, y)
    found = re.search(r"\bMPP\s*=\s*([\d.]+)", text) if text.startswith("Aperio") else None
    return in_micrometres(found[1], "µm") if found else None


def tiff_stains(file: Any, count: int, image: int = 0) -> tuple[str, ...] | None:
    """Return the names of `count` channels of an open TIFF; None unless all are named."""
    names: list[str | None] = []
    if file.is_ome:
        pixels = ome_pixels(file.ome_metadata, image)
        channels = [] if pixels is None else pixels.findall("{*}Channel")
        names = [channel.get("Name") for channel in channels]
    elif file.is_imagej:
        names = _imagej_labels(file.imagej_metadata or {}, count)
    elif count == 1:
        names = [_metaxpress(file.pages.first.description).get("_IllumSetting_")]
    if len(names) != count or not all(names):
        return None
    return tuple(str(name) for name in names)


def ome_pixels(text: str | None, image: int = 0) -> ElementTree.Element | None:
    """Return the element Pixels of an image of an OME-XML text; None if it is broken."""
    if not text:
        return None
    try:
        found = ElementTree.fromstring(text).findall("{*}Image")
    except ElementTree.ParseError:
        return None
    return found[image].find("{*}Pixels") if image < len(found) else None


def _metaxpress(text: str) -> dict[str, str]:
    """Return what MetaXpress says of a plane; empty for other files."""
    if not text.startswith("<MetaData"):
        return {}
    try:
        found = ElementTree.fromstring(text.strip("\x00 \r\n")).iterfind(".//PlaneInfo//*[@id]")
        return {prop.get("id", ""): prop.get("value", "") for prop in found}
    except ElementTree.ParseError:
        return {}


def _ome_size(pixels: ElementTree.Element | None) -> float | None:
    if pixels is None:
        return None
    x, y = (
        in_micrometres(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "µm"))
        for a in "XY"
    )
    return side(x, y)


def _imagej_size(file: Any) -> float | None:
    unit = (file.imagej_metadata or {}).get("unit")
    if str(unit).casefold() in ("inch", "in"):  # dots per inch are for printers
        return None
    sides = []
    for axis in "XY":
        tag = file.pages.first.tags.get(f"{axis}Resolution")
        pixels, units = (0, 0) if tag is None else tag.value
        sides.append(in_micrometres(units / pixels, unit) if pixels else None)
    return side(*sides)


def _imagej_labels(metadata: dict[str, Any], count: int) -> list[str | None]:
    """Return the labels of the first plane of each channel, if they tell the channels apart."""
    labels = metadata.get("Labels")
    if not isinstance(labels, list) or len(labels) % count:
        return []
    # Bio-Formats writes "c:1/2 z:1/5 - name"; hyperstacks have the channels innermost.
    names = [re.sub(r"^([czt]:\d+/\d+\s*)+(-\s*)?", "", str(n)).strip() for n in labels[:count]]
    return list(names) if len(set(names)) == count else []
