"""How many images are held at a time, and which threads read them."""

import threading
import time

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo import errors
from zoo._embedding import read_ahead as module
from zoo._embedding.read_ahead import read_ahead


def dataset(sizes, before=lambda i: None, thread_safe=True):
    """One channel of so many bytes for each item; an item without size cannot be read."""

    def read(i):
        before(i)
        if sizes[i] is None:
            raise errors.ImageError(f"{i} is bad")
        return zoo.Image(np.zeros((1, 1, sizes[i]), np.uint8))

    read.thread_safe = thread_safe
    table = pd.DataFrame({"image": [str(i) for i in range(len(sizes))]})
    return zoo.Dataset("mine", table, read)


def chunks_of(images, look=lambda i, image: image):
    return list(read_ahead(images, look))


@pytest.mark.parametrize("count", [1, 4, 5, 68, 69, 200])
def test_every_item_comes_once_and_in_order(count):
    chunks = chunks_of(dataset([1] * count))
    assert [i for chunk in chunks for i, _ in chunk] == list(range(count))
    assert all(0 < len(chunk) <= 64 for chunk in chunks)
    assert len(chunks[0]) <= 4  # so that the time of the others is soon known


def test_items_come_in_order_though_later_ones_are_read_sooner():
    def before(i):
        time.sleep(0.02 if i % 3 == 0 else 0)

    sizes = list(range(1, 41))
    chunks = chunks_of(dataset(sizes, before=before))
    assert [image.pixels.size for chunk in chunks for _, image in chunk] == sizes


def test_chunks_end_where_their_pixels_are_many(monkeypatch):
    monkeypatch.setattr(module, "_BYTES", 100)
    sizes = [40, 40, 40, 40, 100, 1, 1, 99, None, 120, 30, None, None, 30, 30, 30]
    chunks = [[i for i, _ in chunk] for chunk in chunks_of(dataset(sizes))]
    assert chunks == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9], [10, 11, 12, 13, 14, 15]]


def test_what_cannot_be_read_or_used_is_said_in_its_place():
    def look(i, image):
        if i == 2:
            raise errors.ImageError("2 is not wanted")
        return i, image.pixels.shape

    found = [seen for chunk in chunks_of(dataset([1, None, 1, 1]), look) for _, seen in chunk]
    assert found[0] == (0, (1, 1, 1))
    assert [str(seen) for seen in found[1:3]] == ["1 is bad", "2 is not wanted"]
    assert found[3] == (3, (1, 1, 1))


def test_images_are_read_at_once_while_a_chunk_is_used(monkeypatch):
    monkeypatch.setattr(module, "THREADS", 3)
    together = threading.Barrier(3)  # breaks unless three threads come to it
    started = []

    def before(i):
        started.append(i)
        if i in (1, 2, 3):  # the first is read alone, for no size is known
            together.wait(timeout=60)

    chunks = read_ahead(dataset([1] * 20, before=before), lambda i, image: image)
    assert len(next(chunks)) == 4
    for _ in range(600):
        if len(started) == 20:
            break
        time.sleep(0.1)
    assert sorted(started) == list(range(20))
    chunks.close()


def test_a_reader_that_does_not_say_so_is_called_by_one_thread_at_a_time(monkeypatch):
    """As one that seeks and reads in a file that is open."""
    monkeypatch.setattr(module, "THREADS", 4)
    inside, most = [], []

    def before(i):
        inside.append(i)
        most.append(len(inside))
        time.sleep(0.005)
        inside.remove(i)

    safe = dataset([1] * 30, before)
    chunks_of(safe)
    assert max(most) > 1  # the test would see it
    most.clear()
    unsafe = dataset([1] * 30, before, thread_safe=False)
    chunks_of(unsafe)
    assert most == [1] * 30


@pytest.mark.parametrize("size", [40, 100, 250])
def test_no_more_is_read_ahead_than_there_is_room_for(monkeypatch, size):
    """A thread may read one image while none is held, however large it is."""
    monkeypatch.setattr(module, "_BYTES", 100)
    monkeypatch.setattr(module, "THREADS", 4)
    started = []
    chunks = read_ahead(dataset([size] * 12, before=started.append), lambda i, image: image)
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        time.sleep(0.05)  # time to read more than allowed
        assert len(started) - taken <= max(1, 100 // size)
    assert taken == 12


def test_reading_ends_where_no_more_is_wanted(monkeypatch):
    monkeypatch.setattr(module, "_BYTES", 1)
    started = []
    chunks = read_ahead(dataset([5] * 50, before=started.append), lambda i, image: image)
    next(chunks)
    chunks.close()  # returns though other images wait for their turn
    before = len(started)
    assert before <= 2
    time.sleep(0.05)
    assert len(started) == before
    assert not [t for t in threading.enumerate() if t.name.startswith("images")]


def test_an_error_of_another_kind_is_raised():
    def before(i):
        if i == 3:
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        chunks_of(dataset([1] * 90, before=before))
