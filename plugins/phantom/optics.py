"""Illumination, blur and camera: from cells to pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fftfreq, irfft2, next_fast_len, rfft2, rfftfreq

from .factors import FACTORS, PLATE, Dials

Array = NDArray[Any]

READ_NOISE = 4.0  # counts, sd
FULL_WELL = 4095  # counts
GLOW = 200.0  # counts at the wall of a plate, for each share of cells that it takes


@dataclass(frozen=True)
class Plate:
    """Effects of a plate on all its fields.

    Parameters
    ----------
    gain, background
        By channel, `(C,)`; the background in counts, added to that of the well.
    vignette
        Light lost from the centre of a field to its corners, as a share of the mean.
    slope
        Direction (down, right) in which the light rises, of length 1.
    """

    gain: NDArray[np.float64]
    background: NDArray[np.float64]
    vignette: float
    slope: NDArray[np.float64]


def make_plate(dials: Dials, seed: tuple[int, ...]) -> Plate:
    """Draw the effects of a plate, channel by channel: more channels change no earlier one."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi)
    strength = dials.plates.get(PLATE, 0.0)
    vignette = 0.5 * strength * rng.uniform()
    by_channel = [(rng.standard_normal(), rng.uniform()) for _ in range(dials.channels)]
    gain, background = np.array(by_channel).T
    return Plate(
        gain=np.exp(0.4 * strength * gain),
        background=80 * strength * background,
        vignette=vignette,
        slope=np.array([np.cos(angle), np.sin(angle)]),
    )


def expose(
    signal: NDArray[np.float32],
    dials: Dials,
    levels: Mapping[str, float],
    plate: Plate,
    wall: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Blur sharp cells with their margin, illuminate them, and record them with a 12-bit camera.

    Parameters
    ----------
    signal
        `(C, S, S)`, as `draw_cells` gives it.
    wall
        Direction (down, right) of the nearest wall of the plate, from which stray light comes.
    """
    side, edge = dials.side, margin(dials)
    down, right, _ = smoothing(
        canvas(dials), FACTORS["focus"].at(levels["focus"]) / dials.pixel_size
    )
    spectrum = rfft2(signal)
    spectrum *= down[:, None] * right
    sharp = irfft2(spectrum, s=signal.shape[1:], overwrite_x=True)
    light = sharp[:, edge : edge + side, edge : edge + side] * light_field(dials, levels, plate)
    light *= (FACTORS["intensity"].at(levels["intensity"]) * plate.gain).astype(np.float32)[
        :, None, None
    ]
    dark = FACTORS["background"].at(levels["background"]) + plate.background
    light += dark.astype(np.float32)[:, None, None]
    if levels["position"] > 0:
        glow = GLOW * FACTORS["position"].at(levels["position"])
        light += (glow * (0.5 + _across(side, wall))).astype(np.float32)
    counts = rng.poisson(np.maximum(light, 0))
    read = rng.standard_normal(counts.shape, np.float32)
    read *= np.float32(READ_NOISE)
    read += counts
    return np.clip(read, 0, FULL_WELL).astype(np.uint16)


def margin(dials: Dials) -> int:
    """Pixels around the field that blur reaches in from: four sd of the strongest."""
    return int(np.ceil(4 * FACTORS["focus"].high / dials.pixel_size))


def canvas(dials: Dials) -> int:
    """Side of field and margins in pixels, or a little more, where transforms are fast."""
    return int(next_fast_len(dials.side + 2 * margin(dials), real=True))


@lru_cache(maxsize=64)
def smoothing(side: int, sd: float) -> tuple[Array, Array, float]:
    """Transfer of a Gaussian of `sd` pixels by row and by column, and the sd it leaves of noise."""
    full = np.exp(-2 * (np.pi * sd * fftfreq(side)) ** 2)
    half = np.exp(-2 * (np.pi * sd * rfftfreq(side)) ** 2)
    return full.astype(np.float32), half.astype(np.float32), float(np.mean(full**2))


def light_field(dials: Dials, levels: Mapping[str, float], plate: Plate) -> NDArray[np.float32]:
    """Light at each pixel, `(side, side)`, of mean 1."""
    side = dials.side
    fall = FACTORS["illumination"].at(levels["illumination"])
    light = 1 + fall * _across(side, plate.slope)
    if plate.vignette > 0:
        squared = np.square(_axis(side))
        squared = squared[:, None] + squared  # 0 in the centre, 1/2 in the corners
        light -= 2 * plate.vignette * (squared - squared.mean())
    ready: NDArray[np.float32] = light.astype(np.float32)
    return ready


def _axis(side: int) -> NDArray[np.float64]:
    return (np.arange(side) + 0.5) / side - 0.5


def _across(side: int, direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place along a direction, `(side, side)`: from -1/2 to 1/2 along rows and columns."""
    at = _axis(side)
    place: NDArray[np.float64] = direction[0] * at[:, None] + direction[1] * at
    return place
