"""How many images are held at a time."""

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo import errors
from zoo._embedding import read_ahead as module
from zoo._embedding.read_ahead import read_ahead


def dataset(sizes, name="mine"):
    """One channel of so many bytes for each item; an item without size cannot be read."""

    def read(i):
        if sizes[i] is None:
            raise errors.ImageError(f"{i} is bad")
        return zoo.Image(np.zeros((1, 1, sizes[i]), np.uint8))

    table = pd.DataFrame({"image": [str(i) for i in range(len(sizes))]})
    return zoo.Dataset(name=name, metadata=table, read=read)


@pytest.mark.parametrize("count", [1, 4, 5, 68, 69, 200])
def test_every_item_comes_once_and_in_order(count):
    chunks = list(read_ahead(dataset([1] * count)))
    assert [i for chunk in chunks for i, _ in chunk] == list(range(count))
    assert all(0 < len(chunk) <= 64 for chunk in chunks)
    assert len(chunks[0]) <= 4  # so that the time of the others is soon known


def test_chunks_end_where_their_pixels_are_many(monkeypatch):
    monkeypatch.setattr(module, "_BYTES", 100)
    sizes = [40, 40, 40, 40, 100, 1, 1, 99, None, 120, 30, None, None, 30, 30, 30]
    chunks = [[i for i, _ in chunk] for chunk in read_ahead(dataset(sizes))]
    assert chunks == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9], [10, 11, 12, 13, 14, 15]]


def test_what_cannot_be_read_is_said_in_its_place():
    found = [item for chunk in read_ahead(dataset([1, None, 1])) for item in chunk]
    assert isinstance(found[1][1], errors.ImageError)
    assert found[2][1].pixels.shape == (1, 1, 1)
