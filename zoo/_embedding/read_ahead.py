"""Read the images of a dataset in chunks, one chunk ahead."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from zoo.registry import ZooError

from .._data.crops.objects import NUMBER
from .._data.dataset import Dataset
from .._images.image import Image

_CHUNK = 64
_BYTES = 128 * 2**20
# A short chunk comes first, so that the time of the others is soon known.
_FIRST = 4


def read_ahead(dataset: Dataset) -> Iterable[list[tuple[int, Image | Exception]]]:
    """Read the next chunk while one is encoded.

    A chunk has at most 64 images, and no further ones once they take 128 MiB.
    """

    def read(start: int, most: int) -> list[tuple[int, Image | Exception]]:
        items: list[tuple[int, Image | Exception]] = []
        held = 0
        for i in range(start, min(start + most, len(dataset))):
            try:
                image = dataset[i]
                items.append((i, image))
                held += sum(getattr(part, "nbytes", 0) for part in (image.pixels, image.mask))
            except ZooError as error:
                items.append((i, error))
            if held >= _BYTES:
                break
        return items

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, 0, _FIRST)
        start = 0
        while start < len(dataset):
            items = ahead.result()
            start += len(items)
            ahead = pool.submit(read, start, _CHUNK)
            yield items


def item_name(dataset: Dataset, i: int) -> str:
    """Name an item in messages and tables of failures."""
    table = dataset.metadata
    known = [c for c in ("image", "image_path", "well") if c in table.columns]
    name = str(table[known[0]].iloc[i]) if known else f"item {i}"
    number = int(table[NUMBER].iloc[i]) if dataset.crops is not None else 0
    return f"{name}, object {number}" if number else name
