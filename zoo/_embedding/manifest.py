"""The items of a job in order, and the state of their files when the job was planned."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from zoo.registry import DataError, ZooError

from .._data.dataset import Dataset, Reader, files_of, is_thread_safe
from .._images.image import Image

MISSING = "missing"
_ROWS = 10_000


def fingerprint(dataset: Dataset) -> str:
    """Return the sha256 of the dataset's metadata: all items in order."""
    digest = sha256()
    for top in range(0, len(dataset), _ROWS):
        rows = dataset.metadata.iloc[top : top + _ROWS]
        digest.update(rows.to_csv(index=False, lineterminator="\n").encode())
    return digest.hexdigest()


def file_states(dataset: Dataset) -> list[str]:
    """Return size and time of the last change of each item's files; empty where not known."""
    # Of a file with many images, which follow each other, the state is asked for once.
    state = lru_cache(maxsize=16)(_state)
    return [_states(dataset.read, i, state) for i in range(len(dataset))]


def _states(read: Reader | None, i: int, state: Callable[[str | Path], str]) -> str:
    try:
        return "|".join(map(state, files_of(read, i)))
    except ZooError:  # reading the item will say why
        return ""


def _state(path: str | Path) -> str:
    try:
        found = os.stat(path)  # noqa: PTH116 (faster than Path.stat, for millions)
    except OSError:
        return MISSING
    return f"{found.st_size} {found.st_mtime_ns}"


@dataclass(frozen=True)
class UnchangedReader:
    """Reads the items of a shard, and refuses those whose files are no longer as they were.

    Parameters
    ----------
    read
        The reader of all items.
    first
        Place of the shard's first item.
    states
        What `file_states` said of the shard's items.
    """

    read: Reader
    first: int
    states: Sequence[str]

    @property
    def thread_safe(self) -> bool:
        """Whether the reader of all items is."""
        return is_thread_safe(self.read)

    def __call__(self, i: int) -> Image:
        try:
            return self.read(self.first + i)
        finally:
            # After reading, so that a change in the meantime is seen as well.
            self._check(i)

    def _check(self, i: int) -> None:
        now = _states(self.read, self.first + i, _state)
        if now == self.states[i] or not self.states[i]:
            return
        then, found = self.states[i].split("|"), now.split("|")
        paths = files_of(self.read, self.first + i)
        for path, before, after in zip(paths, then, found, strict=False):
            if before != after:
                raise DataError(
                    f"{path} was changed after the job was planned: {_said(before)} then, "
                    f"{_said(after)} now; a job in a new folder takes it as it is now"
                )


def _said(state: str) -> str:
    size, _, written = state.partition(" ")
    return size if not written else f"{size} bytes, written at {int(written) / 1e9:.3f} s"
