"""Stains of synthetic cells: localisation, amount and granularity."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from .factors import FACTORS, Dials
from .geometry import Cells, Parts
from .optics import canvas, smoothing

Array = NDArray[Any]

NUCLEUS = 6.2  # µm, radius of a mean nucleus of a culture


# Counts · µm² in a cell of the mean size, before gain; a tissue's cells hold as much by area.
_AMOUNT = {
    "DNA": 500 * np.pi * NUCLEUS**2,
    "protein": 85_000.0,
    "ER": 90_000.0,
    "actin": 80_000.0,
    "mitochondria": 70_000.0,
    "RNA": 80_000.0,
    "Golgi": 20_000.0,
    "tubulin": 90_000.0,
    "lysosomes": 40_000.0,
    "lipids": 30_000.0,
    "marker A": 110_000.0,
    "marker B": 110_000.0,
}
# sd of a stain's granules, of that of the texture's level, and their contrast: sd of the logarithm.
# Stains of organelles grow coarser with the texture; those below do not.
_GRANULES = {
    "protein": (1.0, 0.6),
    "ER": (1.0, 0.6),
    "mitochondria": (1.0, 1.0),
    "lysosomes": (1.0, 1.3),
}
_FIXED_GRANULES = {"DNA": (0.9, 0.15), "RNA": (0.9, 1.0), "lipids": (0.5, 1.3)}
_PLAIN_GRANULES = (0.6, 0.15)


def stain_cells(
    stain: str, cells: Cells, parts: Parts, grain: Array, share: float, own: Array
) -> Array:
    """Signal of a stain in each window, `(n, w, w)`, in counts · µm²; its sum is the cell's amount.

    Parameters
    ----------
    grain
        The pattern of `granules` in each window.
    share
        Mean share of the protein that is in the nucleus.
    own
        Standard normals by which amounts differ between cells, `(n,)`.
    """
    amount = _AMOUNT[stain] * (cells.size / NUCLEUS) ** 2
    if stain == "DNA":
        return _spread(
            parts.nucleus * grain, amount * (1 + 0.12 * np.clip(cells.draws[:, 2], -3, 3))
        )
    amount *= np.exp(0.2 * own)
    if stain.startswith("marker"):
        held = cells.types == "AB".index(stain[-1])
        return _spread(parts.body * grain, amount * held)
    if stain == "protein":
        inside = np.clip(share + 0.06 * cells.draws[:, 3], 0.02, 0.98)
        # Only the cytoplasm is granular.
        nuclear = _spread(parts.nucleus.astype(np.float32), amount * inside)
        return nuclear + _spread(parts.cytoplasm * grain, amount * (1 - inside))
    if stain == "RNA":
        nucleoli = _spread(parts.nucleus * grain, 0.4 * amount)
        return nucleoli + _spread(parts.cytoplasm.astype(np.float32), 0.6 * amount)
    weight: Array
    match stain:
        case "ER":
            weight = parts.cytoplasm * (1.1 - np.minimum(parts.out, 1))
        case "actin":
            weight = parts.body * (0.15 + np.exp(-np.square((np.sqrt(parts.out) - 0.93) / 0.07)))
        case "Golgi":
            weight = parts.cytoplasm * np.exp(-8 * np.square(parts.along - 1.2))
        case "tubulin":
            weight = parts.cytoplasm * np.exp(-2 * parts.out)
        case _:
            weight = parts.cytoplasm.astype(np.float32)
    return _spread(weight * grain, amount)


def _spread(weight: Array, amount: NDArray[np.float64]) -> Array:
    """Scale each window to its amount; a part too small for the pixels holds nothing."""
    total = weight.sum(axis=(1, 2), dtype=np.float64)
    factor = np.divide(amount, total, out=np.zeros_like(total), where=total > 0)
    light: Array = weight * factor.astype(np.float32)[:, None, None]
    return light


def granules(dials: Dials, texture: float, rng: np.random.Generator) -> Array:
    """Positive random patterns, one for each channel, `(C, S, S)`, as fine as the stain's granules.

    The same noise is smoothed more or less, so that granules grow in place. Their contrast before
    blur does not depend on their size.
    """
    whole = canvas(dials)
    spectrum = rfft2(rng.standard_normal((dials.channels, whole, whole), np.float32))
    contrasts = []
    for channel, stain in enumerate(dials.stains):
        if stain in _GRANULES:
            relative, contrast = _GRANULES[stain]
            size = relative * FACTORS["texture"].at(texture)
        else:
            size, contrast = _FIXED_GRANULES.get(stain, _PLAIN_GRANULES)
        down, right, kept = smoothing(whole, size / dials.pixel_size)
        spectrum[channel] *= down[:, None] * right / np.float32(kept)
        contrasts.append(contrast)
    pattern = irfft2(spectrum, s=(whole, whole), overwrite_x=True)
    grain: Array = np.exp(pattern * np.array(contrasts, np.float32)[:, None, None])
    return grain
