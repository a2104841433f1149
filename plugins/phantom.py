"""Synthetic plates with planted biology and planted nuisances, each with a dial.

Cells are ellipses: a nucleus in the DNA channel, a protein that is split between nucleus and
cytoplasm in the other. Every cell holds the same expected amount of protein whatever the dose, so
that only the place of the protein, and not its amount, carries the biology.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import zoo

STAINS = ("DNA", "FKHR-GFP")
PIXEL_SIZE = 0.65  # µm
SIDE = 224  # pixels


@dataclass(frozen=True, kw_only=True)
class Dials:
    """What is planted, and how strongly.

    Parameters
    ----------
    translocation
        Biology: by how much the nuclear share of the protein rises from the lowest dose (0.25) to
        the highest; 0 plants no biology.
    intensity_shortcut, density_shortcut
        Shortcuts: relative rise of the protein's brightness, or of the number of cells, from the
        lowest dose to the highest. A model that scores by them has seen no biology.
    gain, background, illumination, density
        Nuisances by plate: relative spread of the gain, spread of the background in counts,
        strength of the illumination's slope, relative spread of the number of cells.
    cells
        Mean number of cells in a field.
    plates, doses, replicates
        Size of the experiment: wells of each dose on each plate.
    """

    translocation: float = 0.45
    intensity_shortcut: float = 0.0
    density_shortcut: float = 0.0
    gain: float = 0.3
    background: float = 60.0
    illumination: float = 0.4
    density: float = 0.25
    cells: float = 22.0
    plates: int = 8
    doses: int = 6
    replicates: int = 2


def open_phantom(spec: zoo.DatasetSpec, *, path: Path | None = None) -> zoo.Dataset:
    """Open the phantom as the registry describes it; it is made, so there is no path to give."""
    if path is not None:
        raise ValueError("the phantom is made when it is opened: it takes no path")
    return make(spec)


def make(spec: zoo.DatasetSpec, dials: Dials | None = None, *, seed: int = 0) -> zoo.Dataset:
    """Make plates with the given dials; every image follows from `seed` and its place alone."""
    dials = dials or Dials()
    layout = np.random.default_rng([seed, 1])
    rows = []
    for plate in range(dials.plates):
        doses = np.repeat(np.arange(dials.doses), dials.replicates)
        for well, dose in enumerate(layout.permutation(doses)):
            control = {0: "negative", dials.doses - 1: "positive"}.get(int(dose), "sample")
            rows.append((f"P{plate + 1}", f"W{well + 1:02d}", int(dose), control))
    metadata = pd.DataFrame(rows, columns=["plate", "well", "dose", "control"])
    metadata.insert(0, "image", metadata["plate"] + "-" + metadata["well"])
    plates = [_draw_plate(dials, np.random.default_rng([seed, 2, p])) for p in range(dials.plates)]

    def read(i: int) -> zoo.Image:
        plate = plates[i // (dials.doses * dials.replicates)]
        share = metadata["dose"].iloc[i] / max(dials.doses - 1, 1)
        field = _draw_field(dials, plate, share, np.random.default_rng([seed, 3, i]))
        return zoo.Image(field, STAINS, PIXEL_SIZE)

    return zoo.Dataset(spec.name, metadata, read, spec)


@dataclass(frozen=True)
class _Plate:
    gain: NDArray[np.float64]  # by channel
    background: NDArray[np.float64]  # by channel
    light: NDArray[np.float64]  # (SIDE, SIDE), mean 1
    density: float


def _draw_plate(dials: Dials, rng: np.random.Generator) -> _Plate:
    angle = rng.uniform(0, 2 * np.pi)
    across = np.linspace(-0.5, 0.5, SIDE)
    slope = np.cos(angle) * across[:, None] + np.sin(angle) * across[None, :]
    return _Plate(
        gain=np.exp(rng.normal(0, dials.gain, 2)),
        background=100 + rng.uniform(0, dials.background, 2),
        light=1 + dials.illumination * slope,
        density=float(np.exp(rng.normal(0, dials.density))),
    )


def _draw_field(
    dials: Dials, plate: _Plate, share: float, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Draw one field, `(2, SIDE, SIDE)`, as a 12-bit camera would write it."""
    nuclear = 0.25 + dials.translocation * share
    brightness = 1 + dials.intensity_shortcut * share
    crowd = dials.cells * plate.density * (1 + dials.density_shortcut * share)
    dna, protein = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for y, x in _draw_centres(int(rng.poisson(crowd)), rng):
        radius, stretch = rng.normal(9.5, 0.9), np.exp(rng.normal(0, 0.12))
        angle = rng.uniform(0, np.pi)
        u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        distance = np.hypot(u / (radius * stretch), v / (radius / stretch))
        nucleus = distance < 1
        body = np.hypot(u / (2.1 * radius * stretch), v / (1.7 * radius / stretch)) < 1
        cytoplasm = body & ~nucleus
        dna += nucleus * rng.normal(1.0, 0.12)
        amount = 260 * brightness * np.exp(rng.normal(0, 0.2))
        share_here = np.clip(rng.normal(nuclear, 0.06), 0.02, 0.98)
        protein += nucleus * (amount * share_here / max(nucleus.sum(), 1))
        protein += cytoplasm * (amount * (1 - share_here) / max(cytoplasm.sum(), 1))
    texture = 1 + 0.15 * gaussian_filter(rng.normal(size=(2, SIDE, SIDE)), (0, 2, 2)) / 0.14
    signal = gaussian_filter(np.stack([700 * dna, 900 * protein]) * texture, (0, 1.1, 1.1))
    light = signal * plate.light * plate.gain[:, None, None] + plate.background[:, None, None]
    counts = rng.poisson(np.maximum(light, 0)) + rng.normal(0, 4, light.shape)
    return np.clip(counts, 0, 4095).astype(np.uint16)


def _draw_centres(count: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Draw centres 22 pixels apart or more, so that nuclei stay apart, as far as there is room."""
    centres: list[tuple[float, float]] = []
    for _ in range(40 * max(count, 1)):
        if len(centres) == count:
            break
        y, x = rng.uniform(6, SIDE - 6, 2)
        if all((y - b) ** 2 + (x - a) ** 2 > 22**2 for b, a in centres):
            centres.append((float(y), float(x)))
    return centres
