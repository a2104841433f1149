"""Read the images of a dataset in threads, ahead of where they are needed."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Condition
from typing import TypeVar

from zoo.registry import ZooError

from .._data.crops.objects import NUMBER
from .._data.dataset import Dataset
from .._images.image import Image

Seen = TypeVar("Seen")
THREADS = min(8, os.cpu_count() or 1)
"""Images read at once."""
_CHUNK = 64
_BYTES = 128 * 2**20
# A short chunk comes first, so that the time of the others is soon known.
_FIRST = 4


def read_ahead(
    dataset: Dataset, look: Callable[[int, Image], Seen]
) -> Iterator[list[tuple[int, Seen | ZooError]]]:
    """Read images in chunks, and further ones while a chunk is used.

    A chunk has at most 64 images, and no further ones once they take 128 MiB; no more are read
    ahead.

    Parameters
    ----------
    dataset
        Its reader is called from several threads.
    look
        Called with the place and the image, in the thread that read it.

    Yields
    ------
    list
        Places in order, with what `look` returned, or why the image cannot be used.
    """
    turns = _Turns()

    def read(i: int) -> tuple[Seen | ZooError, int]:
        turns.wait_for(i)
        size = 0
        try:
            image = dataset[i]
            size = sum(getattr(part, "nbytes", 0) for part in (image.pixels, image.mask))
            return look(i, image), size
        except ZooError as error:
            return error, size
        finally:
            turns.done(size)

    count = len(dataset)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="images") as pool:
        try:
            coming = deque(pool.submit(read, i) for i in range(min(_CHUNK, count)))
            chunk: list[tuple[int, Seen | ZooError]] = []
            held, most = 0, _FIRST
            for i in range(count):
                seen, size = coming.popleft().result()
                turns.taken(size)
                if i + _CHUNK < count:
                    coming.append(pool.submit(read, i + _CHUNK))
                chunk.append((i, seen))
                held += size
                if len(chunk) == most or held >= _BYTES or i == count - 1:
                    yield chunk
                    chunk, held, most = [], 0, _CHUNK
        finally:
            turns.end()
            pool.shutdown(cancel_futures=True)


class _Turns:
    """Images begin in order, as long as there is room for one more that is as large as any."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._next = self._reading = self._held = 0
        self._largest = _BYTES  # one alone, until a size is known
        self._sizes = False
        self._ended = False

    def wait_for(self, i: int) -> None:
        """Return when image `i` may be read; raise `CancelledError` if it is not wanted anymore."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or (i == self._next and self._has_room()))
            if self._ended:
                raise CancelledError
            self._next += 1
            self._reading += 1
            self._changed.notify_all()

    def _has_room(self) -> bool:
        following = self._held + (self._reading + 1) * self._largest
        return following <= _BYTES or not (self._held or self._reading)

    def done(self, size: int) -> None:
        """Note that an image was read."""
        with self._changed:
            self._reading -= 1
            self._held += size
            self._largest = max(self._largest, size) if self._sizes else size
            self._sizes = True
            self._changed.notify_all()

    def taken(self, size: int) -> None:
        """Note that an image that was read is with the caller."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def end(self) -> None:
        """Let nothing wait any longer."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def item_name(dataset: Dataset, i: int) -> str:
    """Name an item in messages and tables of failures."""
    table = dataset.metadata
    known = [c for c in ("image", "image_path", "well") if c in table.columns]
    name = str(table[known[0]].iloc[i]) if known else f"item {i}"
    number = int(table[NUMBER].iloc[i]) if dataset.crops is not None else 0
    return f"{name}, object {number}" if number else name
