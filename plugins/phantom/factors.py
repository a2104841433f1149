"""Factors that are planted in synthetic plates and tissues, and the dials that set them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from zoo import plugin

PLATE = "plate"
CULTURE_STAINS = (
    "DNA",
    "protein",
    "ER",
    "actin",
    "mitochondria",
    "RNA",
    "Golgi",
    "tubulin",
    "lysosomes",
    "lipids",
)
TISSUE_STAINS = ("DNA", "marker A", "marker B", *CULTURE_STAINS[1:8])
MOST_WELLS = 1536
# Cells that fit into a standard field when they are placed at random at their least distance.
_MOST_CELLS = {False: 59.0, True: 110.0}


@dataclass(frozen=True)
class Factor:
    """One planted quantity: levels from 0 to 1 stand for values from `low` to `high`.

    Parameters
    ----------
    kind
        Whether an encoder should encode it (biology) or not (nuisance).
    meaning, unit
        Of the value.
    low, high
        Value at the levels 0 and 1.
    geometric
        Whether equal steps of the level are equal ratios of the value, not equal differences.
    """

    kind: Literal["biology", "nuisance"]
    meaning: str
    unit: str
    low: float
    high: float
    geometric: bool = False

    def at(self, level: float) -> float:
        """Value at a level."""
        if self.geometric:
            return float(self.low * (self.high / self.low) ** level)
        return float(self.low + (self.high - self.low) * level)


FACTORS: Mapping[str, Factor] = {
    "translocation": Factor("biology", "share of the protein in the nucleus", "", 0.25, 0.7),
    "texture": Factor("biology", "granules of organelles, sd", "µm", 0.4, 1.6, geometric=True),
    "shape": Factor("biology", "axis ratio of nuclei of constant area", "", 1.1, 2.2),
    "mixture": Factor("biology", "share of cells of type B", "", 0.0, 1.0),
    "arrangement": Factor("biology", "correlation of a cell's type with its patch", "", 0.0, 1.0),
    "intensity": Factor("nuisance", "gain of all channels", "", 1.0, 2.0, geometric=True),
    "background": Factor("nuisance", "light without cells", "counts", 100.0, 250.0),
    "density": Factor("nuisance", "number of cells, relative to `cells`", "", 1.0, 2.5),
    "focus": Factor("nuisance", "blur, sd", "µm", 0.7, 2.5),
    "illumination": Factor("nuisance", "fall of light across the field, of its mean", "", 0.0, 0.8),
    "position": Factor("nuisance", "cells lost to the wall of the plate, share", "", 0.0, 0.3),
}
BIOLOGY = tuple(name for name, factor in FACTORS.items() if factor.kind == "biology")
# The stain that shows a factor; by its place in the list, factors need channels.
_SHOWN_BY = {"translocation": "protein", "texture": "protein"}


@dataclass(frozen=True, kw_only=True)
class Dials:
    """What is planted, how strongly, and where it varies.

    The level of a factor in a well is the sum of `fixed`, `rises`, `wells` and `plates`,
    so that for each factor they sum to 1 at most; a factor that none of them names is at 0.
    `FACTORS` holds what the levels 0 and 1 are. Strengths lie in [0, 1].

    Parameters
    ----------
    fixed
        Level that is the same in every well.
    rises
        By how much the level rises from the lowest dose to the highest: biology, or a shortcut.
        For ``"position"`` doses lie in order of their nearness to the edge of the plate.
    wells
        By how much the level varies from well to well, evenly and alike for every dose. For
        ``"position"``, which a well has by its place, the strength of what the edge does.
    plates
        By how much the level varies from plate to plate, evenly. ``"plate"`` gives each plate its
        own gain and background by channel and its own vignette: at 1 gains have an sd of 40 %.
    channels
        1 to 10, in the order of `stains`.
    pixel_size
        Micrometres along a pixel's side; cells have their size in micrometres.
    side
        Side of a field in pixels.
    plates_count, doses, replicates
        Size of the experiment: wells of each dose on each plate.
    cells
        Mean number of cells, where density is at 0, in a standard field of 224 pixels of 0.65 µm;
        fields of another size hold as many by area.
    tissue
        Small cells packed closely, of two types that differ only in a marker each, instead of
        a culture, where cells of type B have smaller nuclei with as much DNA.

    Raises
    ------
    ValueError
        For unknown names, numbers out of range, and factors that no channel would show.
    """

    fixed: Mapping[str, float] = field(default_factory=dict)
    rises: Mapping[str, float] = field(default_factory=dict)
    wells: Mapping[str, float] = field(default_factory=dict)
    plates: Mapping[str, float] = field(default_factory=dict)
    channels: int = 2
    pixel_size: float = 0.65
    side: int = 224
    plates_count: int = 8
    doses: int = 6
    replicates: int = 2
    cells: float = 22.0
    tissue: bool = False

    def __post_init__(self) -> None:
        for layout in ("fixed", "rises", "wells", "plates"):
            given = getattr(self, layout)
            _check_strengths(layout, given)
            object.__setattr__(self, layout, {name: float(s) for name, s in given.items()})
        self._check_layouts()
        self._check_sizes()
        self._check_shown()

    @property
    def stains(self) -> tuple[str, ...]:
        """Name of each channel."""
        return (TISSUE_STAINS if self.tissue else CULTURE_STAINS)[: self.channels]

    @property
    def varying(self) -> tuple[str, ...]:
        """Factors whose level is not the same in all wells, in the order of `FACTORS`."""
        return tuple(
            name
            for name in FACTORS
            if self.rises.get(name, 0) > 0 or self.wells.get(name, 0) + self.plates.get(name, 0) > 0
        )

    def highest(self, name: str) -> float:
        """Highest level of a factor: the sum over `fixed`, `rises`, `wells` and `plates`."""
        layouts = (self.fixed, self.rises, self.wells, self.plates)
        return float(sum(layout.get(name, 0.0) for layout in layouts))

    def _check_layouts(self) -> None:
        for name in ("fixed", "rises", "wells"):
            if PLATE in getattr(self, name):
                raise ValueError(
                    f"a plate differs from other plates only: name it in plates, not in {name}"
                )
        for name in ("fixed", "plates"):
            if "position" in getattr(self, name):
                raise ValueError(
                    f"position is a well's own: name it in wells (doses at random) or in rises "
                    f"(doses in order), not in {name}"
                )
        for name in FACTORS:
            if self.highest(name) > 1 + 1e-9:
                raise ValueError(
                    f"{name} adds up to {self.highest(name):g} over fixed, rises, wells and plates,"
                    " but levels end at 1"
                )
        if self.rises and any(self.rises.values()) and self.doses < 2:
            raise ValueError("something rises with the dose, but there is only one dose")

    def _check_sizes(self) -> None:
        for name, low, high in (
            ("channels", 1, 10),
            ("side", 64, 2048),
            ("plates_count", 1, 10_000),
            ("doses", 1, MOST_WELLS),
            ("replicates", 1, MOST_WELLS),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(
                    f"{name} is {value!r}, but must be a whole number, {low} to {high}"
                )
        if self.doses * self.replicates > MOST_WELLS:
            raise ValueError(
                f"{self.doses} doses × {self.replicates} replicates do not fit on a plate of "
                f"{MOST_WELLS} wells"
            )
        if not 0.2 <= self.pixel_size <= 2:
            raise ValueError(f"pixel_size is {self.pixel_size!r} µm, but must be within 0.2 to 2")
        most = _MOST_CELLS[self.tissue]
        crowd = self.cells * FACTORS["density"].at(self.highest("density"))
        if not 0 <= crowd <= most:
            raise ValueError(
                f"cells is {self.cells!r}, {crowd:.4g} where density is highest, but a standard "
                f"field holds 0 to {most:g}: take fewer cells or less density"
            )

    def _check_shown(self) -> None:
        stains = TISSUE_STAINS if self.tissue else CULTURE_STAINS
        for name, stain in _SHOWN_BY.items():
            needed = stains.index(stain) + 1
            if self.highest(name) > 0 and self.channels < needed:
                raise ValueError(
                    f"{name} is seen in the {stain}, channel {needed}, but channels is "
                    f"{self.channels}"
                )
        if self.tissue and self.highest("mixture") > 0 and self.channels < 2:
            raise ValueError(
                "types of cells in tissue are seen in their markers, channels 2 and 3, but "
                "channels is 1"
            )
        if self.highest("arrangement") > 0 and self.highest("mixture") == 0:
            raise ValueError(
                "arrangement needs cells of two types, but mixture is 0: give it a level, such as "
                "fixed={'mixture': 0.5}"
            )


def _check_strengths(layout: str, given: Mapping[str, float]) -> None:
    known = (*FACTORS, PLATE)
    for name, strength in given.items():
        if name not in known:
            raise ValueError(
                f"{layout} names the factor {name!r}, but there are {', '.join(known)}."
                f"{plugin.suggest(str(name), known)}"
            )
        number = isinstance(strength, int | float) and not isinstance(strength, bool)
        if not number or not isfinite(strength) or not 0 <= strength <= 1:
            raise ValueError(
                f"{name} in {layout} is {strength!r}, but a strength must be a number in [0, 1]"
            )
