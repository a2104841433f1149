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


def counting(seconds):
    """A list of how many threads were inside at once, and a function that takes time and adds."""
    inside, most = [], []

    def before(i):
        inside.append(i)
        most.append(len(inside))
        time.sleep(seconds)
        inside.remove(i)

    return most, before


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
    monkeypatch.setattr(module, "threads", lambda: 3)
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
    monkeypatch.setattr(module, "threads", lambda: 4)
    most, before = counting(0.005)
    safe = dataset([1] * 30, before)
    chunks_of(safe)
    assert max(most) > 1  # the test would see it
    most.clear()
    unsafe = dataset([1] * 30, before, thread_safe=False)
    chunks_of(unsafe)
    assert most == [1] * 30


@pytest.mark.parametrize(
    ("sizes", "most"),
    [
        ([30] * 12, 4),  # the last begins where 90 are held
        ([100] * 12, 1),
        ([250] * 12, 1),
        ([None, *[250] * 11], 1),  # what cannot be read has no size
        ([250, *[20] * 80, *[250] * 3], 5),
    ],
)
def test_no_more_is_read_ahead_than_there_is_room_for(monkeypatch, sizes, most):
    monkeypatch.setattr(module, "_BYTES", 100)
    monkeypatch.setattr(module, "threads", lambda: 4)
    started = []

    def before(i):
        started.append(i)
        time.sleep(0.005)  # while others would begin

    taken = 0
    for chunk in read_ahead(dataset(sizes, before), lambda i, image: image):
        taken += len(chunk)
        time.sleep(0.05)  # time to read more than allowed
        assert len(started) - taken <= most
    assert taken == len(sizes)


def test_one_large_image_does_not_make_all_others_wait(monkeypatch):
    monkeypatch.setattr(module, "_BYTES", 1000)
    monkeypatch.setattr(module, "threads", lambda: 4)
    most, before = counting(0.002)
    chunks_of(dataset([1, 2000, *[1] * 150], before))
    assert max(most[8:60]) == 1  # another of its size would not fit
    assert max(most[100:]) > 1


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
