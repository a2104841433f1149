"""Cells of synthetic fields: their positions, and their appearance in each stain.

Lengths are in micrometres from the upper left corner of the field until cells are drawn, each in a
window of its own around its centre.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .factors import FACTORS, Dials
from .geometry import Cells, Parts
from .optics import canvas, margin
from .stains import NUCLEUS, granules, stain_cells
from .tissue import assign_types

Array = NDArray[Any]

STANDARD_FIELD = (224 * 0.65) ** 2  # µm²
SMALL_NUCLEUS = 0.8  # radius of type B in culture, of that of type A
RIM = 0.9  # µm of cytoplasm, at the least


@dataclass(frozen=True)
class _Kind:
    """Size of cells in µm: radius of the nucleus, its spread, least distance of centres."""

    nucleus: float
    spread: float
    apart: float
    body: tuple[float, float]  # semi-axes, of the nucleus' radius


_CULTURE = _Kind(nucleus=NUCLEUS, spread=0.09, apart=14.3, body=(2.0, 1.75))
_TISSUE = _Kind(nucleus=2.6, spread=0.05, apart=10.5, body=(1.35, 1.35))


def grow_cells(dials: Dials, levels: Mapping[str, float], seed: tuple[int, ...]) -> Cells:
    """Grow the cells of one field.

    Positions depend on `seed` and the number of cells; everything else that varies between cells
    depends on `seed` and the index of a cell. So equal seeds give equal cells, except for factors
    that differ.
    """
    kind = _TISSUE if dials.tissue else _CULTURE
    places, traits, kinds = (np.random.default_rng([*seed, part]) for part in range(3))
    side = dials.side * dials.pixel_size
    reach = kind.body[0] * kind.nucleus * (1 + 2 * kind.spread)
    crowd = dials.cells * FACTORS["density"].at(levels["density"])
    crowd *= (1 - FACTORS["position"].at(levels["position"])) / STANDARD_FIELD
    wanted = int(crowd * (side + 2 * reach) ** 2 + places.uniform())
    centres = scatter(wanted, (-reach, side + reach), kind.apart, places)
    n = len(centres)
    draws = traits.standard_normal((n, 16))
    size = kind.nucleus * (1 + kind.spread * np.clip(draws[:, 0], -2, 2))
    types = assign_types(centres, levels["mixture"], levels["arrangement"], kinds)
    small = 1.0 if dials.tissue else SMALL_NUCLEUS
    return Cells(
        centres=centres,
        types=types,
        radius=np.where(types == 1, small, 1.0) * size,
        ratio=FACTORS["shape"].at(levels["shape"]) * np.exp(0.06 * np.clip(draws[:, 1], -2, 2)),
        angle=np.pi * traits.uniform(size=n),
        size=size,
        draws=draws,
    )


def scatter(
    count: int, span: tuple[float, float], apart: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Place points at random on a square, `(count, 2)`, with a least distance of `apart`.

    Fewer points are returned if there is no room for more. Distances wrap around the edges, along
    which points would accumulate otherwise.
    """
    around = span[1] - span[0]
    points = np.empty((count, 2))
    placed = 0
    for point in rng.uniform(*span, (60 * count, 2)):
        if placed == count:
            break
        away = points[:placed] - point
        away -= around * np.rint(away / around)
        if placed == 0 or np.einsum("ij,ij->i", away, away).min() > apart**2:
            points[placed] = point
            placed += 1
    return points[:placed]


def draw_cells(
    dials: Dials, levels: Mapping[str, float], cells: Cells, seed: tuple[int, ...]
) -> tuple[Array, NDArray[np.int32], NDArray[np.int32]]:
    """Draw sharp cells, without illumination, blur or noise.

    Returns
    -------
    signal
        `(C, S, S)`, the field with a margin of `margin` pixels all around, for blur to draw on.
    mask
        Number of the nucleus at each pixel of the field, `(side, side)`; where nuclei overlap, the
        one whose centre is nearer by its own axes.
    types
        Type of each numbered nucleus.
    """
    pixel, side = dials.pixel_size, dials.side
    edge = margin(dials)
    whole = canvas(dials)
    signal = np.zeros((dials.channels, whole, whole), np.float32)
    numbers = np.zeros((whole, whole), np.int32)
    n = len(cells.centres)
    if n == 0:
        return signal, numbers[:side, :side], np.zeros(0, np.int32)

    centres = cells.centres / pixel - 0.5 + edge  # centre of the upper left pixel: edge
    shape = _Shape.of(dials, cells)
    half = int(np.ceil(shape.reach / pixel)) + 1
    corner = np.rint(centres).astype(int) - half  # (n, 2)
    steps = np.arange(2 * half + 1)
    rows, columns = ((corner[:, i, None] + steps) for i in (0, 1))  # (n, w)
    down = ((rows - centres[:, :1]) * pixel).astype(np.float32)[:, :, None]
    right = ((columns - centres[:, 1:]) * pixel).astype(np.float32)[:, None, :]
    cosine, sine = (f(cells.angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    along, across = right * cosine + down * sine, down * cosine - right * sine  # (n, w, w)

    far = shape.distance(along, across, shape.nucleus)  # 1 at the rim of the nucleus
    parts = Parts(far < 1, shape.distance(along, across, shape.body), along / shape.nucleus[0])
    grain = granules(dials, levels["texture"], np.random.default_rng([*seed, 3]))
    at = (rows % whole)[:, :, None], (columns % whole)[:, None, :]
    light = np.empty((dials.channels, *far.shape), np.float32)  # (C, n, w, w)
    share = FACTORS["translocation"].at(levels["translocation"])
    for channel, stain in enumerate(dials.stains):
        light[channel] = stain_cells(
            stain, cells, parts, grain[channel][at], share, cells.draws[:, 4 + channel]
        )
    light /= pixel**2

    nearest = np.ones((whole, whole), np.float32)
    for k in range(n):
        top, left = corner[k]
        # Windows reach beyond the margin: both slices are of what lies within.
        down_here, down_there = _overlap(int(top), len(steps), whole)
        right_here, right_there = _overlap(int(left), len(steps), whole)
        signal[:, down_there, right_there] += light[:, k, down_here, right_here]
        distance = far[k, down_here, right_here]
        nearer = distance < nearest[down_there, right_there]
        numbers[down_there, right_there][nearer] = k + 1
        nearest[down_there, right_there][nearer] = distance[nearer]
    numbers = numbers[edge : edge + side, edge : edge + side]
    seen = np.bincount(numbers.ravel(), minlength=n + 1)[1:] > 0
    renumbered = np.concatenate([[0], np.cumsum(seen)]).astype(np.int32)
    return signal, renumbered[numbers], cells.types[seen]


def _overlap(start: int, length: int, whole: int) -> tuple[slice, slice]:
    """Part of a window, and of the whole, where the two overlap; empty where they do not."""
    first, last = max(start, 0), min(start + length, whole)
    last = max(first, last)
    return slice(first - start, last - start), slice(first, last)


@dataclass(frozen=True)
class _Shape:
    """Semi-axes (long, short) of ellipses, each `(n, 1, 1)`, in µm."""

    nucleus: tuple[Array, Array]
    body: tuple[Array, Array]

    @classmethod
    def of(cls, dials: Dials, cells: Cells) -> "_Shape":
        kind = _TISSUE if dials.tissue else _CULTURE
        stretch = np.sqrt(cells.ratio)
        nucleus = cells.radius * stretch, cells.radius / stretch
        # A long nucleus stays inside its cell.
        body = [
            np.maximum(k * cells.radius, axis + RIM)
            for k, axis in zip(kind.body, nucleus, strict=True)
        ]
        ready = [a.astype(np.float32)[:, None, None] for a in (*nucleus, *body)]
        return cls((ready[0], ready[1]), (ready[2], ready[3]))

    @property
    def reach(self) -> float:
        return float(max(axis.max() for axis in (*self.body, *self.nucleus)))

    @staticmethod
    def distance(along: Array, across: Array, axes: tuple[Array, Array]) -> Array:
        squared: Array = np.square(along / axes[0]) + np.square(across / axes[1])
        return squared
