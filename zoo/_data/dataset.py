"""Images with their metadata, read one at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import ControlKind, DataError, DatasetSpec, Design, Role, suggest

from .._images.image import Image
from .remote import is_copy

Reader = Callable[[int], Image]


@dataclass(frozen=True)
class Precomputed:
    """Embeddings that come with a dataset.

    Parameters
    ----------
    summary
        One line.
    read
        Returns the matrix, `(n, D)` float32, one row for each item of the dataset.
    role, control
        As in `EncoderSpec`: cell counts, for example, are a structural control.
    """

    summary: str
    read: Callable[[], NDArray[np.float32]]
    role: Role = "encoder"
    control: ControlKind | None = None


class _ReaderLock:
    """A lock, which is another one in another process."""

    def __init__(self) -> None:
        self.lock = RLock()

    def __reduce__(self) -> tuple[type["_ReaderLock"], tuple[()]]:
        return _ReaderLock, ()


@dataclass(frozen=True)
class Dataset:
    """Items and one row of metadata for each.

    Parameters
    ----------
    name
        Name in tables and provenance.
    metadata
        One row for each item.
    read
        Reads one item by index, each time it is needed: in one thread at a time, or in several at
        once if it was marked by `zoo.plugin.thread_safe`. None for datasets without images.
    spec
        Its record, for datasets of the registry.
    profiles
        Embeddings that come with the dataset, by name; evaluated as ``precomputed:NAME``.
    design
        Columns of label, batch and independent unit, and the tasks; by default the record's.
        `zoo.evaluate` can replace it.
    crops
        How its items were cut out of images, as plain values; None for whole images.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> table = pd.DataFrame({"dose": [0, 1, 4], "plate": ["P1", "P1", "P2"]})
    >>> pixels = np.zeros((3, 2, 64, 64), dtype=np.uint8)
    >>> mine = zoo.Dataset("mine", table, lambda i: zoo.Image(pixels[i], stains=("DNA", "ER")))
    >>> mine
    <zoo.Dataset mine: 3 images>
    >>> mine[0].stains
    ('DNA', 'ER')
    """

    name: str
    metadata: pd.DataFrame
    read: Reader | None
    spec: DatasetSpec | None = None
    profiles: Mapping[str, Precomputed] = field(default_factory=dict)
    design: Design | None = None
    crops: Mapping[str, Any] | None = None
    _lock: _ReaderLock = field(default_factory=_ReaderLock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.metadata.empty:
            raise DataError(f"{self.name} has no items")
        if self.read is None and not self.profiles:
            raise DataError(f"{self.name} has neither images nor embeddings")
        if self.design is None and self.spec is not None:
            object.__setattr__(self, "design", self.spec.design)
        if self.design is not None:
            check_columns(self.design.columns, self.metadata, self.name)

    @property
    def channels(self) -> tuple[int, int] | None:
        """Smallest and largest number of channels; None without a record."""
        return None if self.spec is None else self.spec.channels

    def __len__(self) -> int:
        return len(self.metadata)

    def __getitem__(self, i: int) -> Image:
        if self.read is None:
            raise DataError(
                f"{self.name} has no images, only embeddings: "
                + ", ".join(f"precomputed:{name}" for name in self.profiles)
            )
        place = range(len(self))[i]
        if is_thread_safe(self.read):
            return self.read(place)
        with self._lock.lock:
            return self.read(place)

    def __iter__(self) -> Iterator[Image]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        what = "images" if self.read is not None else "embeddings"
        return f"<zoo.Dataset {self.name}: {len(self)} {what}>"


def thread_safe(read: Reader) -> Reader:
    """Mark a function that reads an item: several threads may call it at once.

    As when it opens its file at each call. Others are called by one thread at a time, since threads
    that share an open file would read each other's pixels.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> @zoo.plugin.thread_safe
    ... def read(i):
    ...     return zoo.Image(np.full((1, 64, 64), i, dtype=np.uint8))
    >>> mine = zoo.Dataset("mine", pd.DataFrame({"dose": [0, 1, 4]}), read)
    """
    read.thread_safe = True  # type: ignore[attr-defined]
    return read


def is_thread_safe(read: Reader | None) -> bool:
    """Whether a reader says that several threads may call it at once."""
    return bool(getattr(read, "thread_safe", False))


def files_of(read: Reader | None, i: int) -> list[str | Path]:
    """Return the local files of an image, where its reader has a method `files_of` to say so."""
    known = getattr(read, "files_of", None)
    return [] if known is None else [path for path in known(i) if not is_copy(path)]


def check_columns(wanted: Iterable[str], table: pd.DataFrame, name: str) -> None:
    """Raise if a table lacks columns that a design names.

    Raises
    ------
    DataError
        Naming the columns, with near names.
    """
    known = [str(c) for c in table.columns]
    missing = sorted(set(wanted) - set(known))
    if missing:
        raise DataError(
            f"{name} lacks the metadata column(s) {', '.join(missing)}; it has "
            f"{', '.join(known)}.{suggest(missing[0], known)}"
        )
