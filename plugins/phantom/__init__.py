"""Synthetic plates and tissues with planted biology and planted nuisances of any strength.

The expected amount of each stain in a cell does not depend on its factors. So biology shows only in
the localisation of a protein, the texture of organelles, the shape of nuclei or the neighbours of a
cell, never in total intensity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from zoo import plugin

from .factors import FACTORS, Dials
from .specs import DATASETS, SPECS

__all__ = ["DATASETS", "FACTORS", "Dials", "make", "open_phantom"]


@plugin.hookimpl
def zoo_datasets() -> Iterable[plugin.DatasetSpec]:
    """Yield the record of each phantom."""
    return SPECS


def open_phantom(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Generate a phantom of the registry; it takes no path."""
    if path is not None:
        raise ValueError("the phantom is made when it is opened: it takes no path")
    return make(spec)


def make(spec: plugin.DatasetSpec, dials: Dials | None = None, *, seed: int = 0) -> plugin.Dataset:
    """Generate plates with the given dials; an image depends only on them, `seed` and its position.

    The metadata has the level of every factor in every well. Images come with the numbers of their
    nuclei and the type of each.

    Parameters
    ----------
    spec
        The record; its channels and factors are replaced by those of the dials.
    dials
        By default, those of the dataset that the record names.
    seed
        Seeds everything random.
    """
    import numpy as np

    from .cells import draw_cells, grow_cells
    from .layout import lay_out
    from .optics import expose, make_plate

    if dials is None:
        if spec.name not in DATASETS:
            raise ValueError(
                f"{spec.name} has no dials of its own: give dials=, or use the record of one of "
                f"{', '.join(DATASETS)}"
            )
        dials = DATASETS[spec.name]
    chosen = dials
    layout = lay_out(chosen, seed)
    table = layout.metadata
    levels = table[list(FACTORS)].to_numpy()
    wells = chosen.doses * chosen.replicates
    plates = [make_plate(chosen, (seed, 2, p)) for p in range(chosen.plates_count)]

    def read(i: int) -> plugin.Image:
        here = dict(zip(FACTORS, levels[i].tolist(), strict=True))
        place = (seed, 3, i)
        cells = grow_cells(chosen, here, place)
        signal, mask, types = draw_cells(chosen, here, cells, place)
        camera = np.random.default_rng([*place, 4])
        pixels = expose(signal, chosen, here, plates[i // wells], layout.walls[i], camera)
        return plugin.Image(pixels, chosen.stains, chosen.pixel_size, mask, types)

    design = replace(spec.design, factors=chosen.varying)
    spec = replace(spec, channels=(chosen.channels, chosen.channels), design=design)
    return plugin.Dataset(spec.name, table, read, spec)
