"""Published datasets, the record of each beside its reader.

Listing reads the records alone: readers import NumPy, pandas and the rest when they are called.
"""

from collections.abc import Iterable

from zoo import plugin

from . import (
    bbbc013,
    bbbc021,
    bbbc022,
    bbbc048,
    chammi,
    dsb2018,
    he_crcval,
    hest,
    idrcell100k,
    jump_cp,
    medmnist,
    rxrx3_core,
)

DATASETS = (
    bbbc013.SPEC,
    dsb2018.SPEC,
    he_crcval.SPEC,
    bbbc021.SPEC,
    bbbc022.SPEC,
    bbbc048.SPEC,
    *medmnist.SPECS,
    rxrx3_core.SPEC,
    jump_cp.SPEC,
    hest.SPEC,
    *chammi.SPECS,
    idrcell100k.SPEC,
)


@plugin.hookimpl
def zoo_datasets() -> Iterable[plugin.DatasetSpec]:
    """Yield the record of each dataset."""
    return DATASETS
