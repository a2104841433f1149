"""Read the images of a dataset in chunks, one chunk ahead."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from zoo.registry import ZooError

from .._data.crops.objects import NUMBER
from .._data.dataset import Dataset
from .._images.image import Image

_CHUNK = 64
# A short chunk comes first, so that the time of the others is soon known.
_FIRST = 4


def read_ahead(dataset: Dataset) -> Iterable[list[tuple[int, Image | Exception]]]:
    """Read the next chunk while one is encoded."""

    def read(start: int, stop: int) -> list[tuple[int, Image | Exception]]:
        items: list[tuple[int, Image | Exception]] = []
        for i in range(start, min(stop, len(dataset))):
            try:
                items.append((i, dataset[i]))
            except ZooError as error:
                items.append((i, error))
        return items

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, 0, _FIRST)
        for start in range(_FIRST, len(dataset) + _CHUNK, _CHUNK):
            items = ahead.result()
            ahead = pool.submit(read, start, start + _CHUNK)
            if items:
                yield items


def item_name(dataset: Dataset, i: int) -> str:
    """Name an item in messages and tables of failures."""
    table = dataset.metadata
    known = [c for c in ("image", "image_path", "well") if c in table.columns]
    name = str(table[known[0]].iloc[i]) if known else f"item {i}"
    number = int(table[NUMBER].iloc[i]) if dataset.crops is not None else 0
    return f"{name}, object {number}" if number else name
