"""Read the images of a dataset in threads, ahead of where they are needed."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Condition
from typing import TypeVar

import torch

from zoo.registry import ZooError

from .._data.crops.objects import NUMBER
from .._data.dataset import Dataset
from .._images.image import Image

Seen = TypeVar("Seen")
_MOST_THREADS = 8
_CHUNK = 64
_BYTES = 128 * 2**20
# A short chunk comes first, so that the time of the others is soon known.
_FIRST = 4


def read_ahead(
    dataset: Dataset, look: Callable[[int, Image], Seen]
) -> Iterator[list[tuple[int, Seen | ZooError]]]:
    """Read images in chunks, and further ones while a chunk is used.

    A chunk has at most 64 images, and no further ones once they take 128 MiB; no more are read
    while it is used. Several are read at once if the sizes of the last ones say that they fit.

    Parameters
    ----------
    dataset
        Its reader is called from as many threads as PyTorch may use, at most eight.
    look
        Called with the place and the image, in the thread that read it.

    Yields
    ------
    list
        Places in order, with what `look` returned, or why the image cannot be used.
    """
    budget = _Budget()

    def read(i: int) -> tuple[Seen | ZooError, int]:
        budget.wait_for_turn(i)
        size = 0
        try:
            image = dataset[i]
            size = sum(getattr(part, "nbytes", 0) for part in (image.pixels, image.mask))
            return look(i, image), size
        except ZooError as error:
            return error, size
        finally:
            budget.read(size)

    count = len(dataset)
    with ThreadPoolExecutor(threads(), thread_name_prefix="images") as pool:
        try:
            coming = deque(pool.submit(read, i) for i in range(min(_CHUNK, count)))
            chunk: list[tuple[int, Seen | ZooError]] = []
            held, most = 0, _FIRST
            for i in range(count):
                seen, size = coming.popleft().result()
                if i + _CHUNK < count:
                    coming.append(pool.submit(read, i + _CHUNK))
                chunk.append((i, seen))
                held += size
                if len(chunk) == most or held >= _BYTES or i == count - 1:
                    budget.release(held)
                    yield chunk
                    chunk, held, most = [], 0, _CHUNK
        finally:
            budget.end()
            pool.shutdown(cancel_futures=True)


def threads() -> int:
    """Return how many images may be read at once."""
    return min(_MOST_THREADS, torch.get_num_threads())


class _Budget:
    """Bytes of images that are read and not used yet; each begins in its turn, if there is room."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._next = self._reading = self._held = 0
        self._sizes: deque[int] = deque(maxlen=_CHUNK)  # of the last images
        self._ended = False

    def wait_for_turn(self, i: int) -> None:
        """Return when image `i` may be read; raise `CancelledError` if it is not wanted anymore."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or (i == self._next and self._has_room()))
            if self._ended:
                raise CancelledError
            self._next += 1
            self._reading += 1
            self._changed.notify_all()

    def _has_room(self) -> bool:
        if not self._reading:
            return self._held < _BYTES
        largest = max(self._sizes, default=_BYTES)  # one alone, until a size is known
        return self._held + (self._reading + 1) * largest <= _BYTES

    def read(self, size: int) -> None:
        """Note that an image was read; 0 bytes if it could not be."""
        with self._changed:
            self._reading -= 1
            self._held += size
            if size:
                self._sizes.append(size)
            self._changed.notify_all()

    def release(self, size: int) -> None:
        """Note that images of this many bytes are with the caller."""
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
