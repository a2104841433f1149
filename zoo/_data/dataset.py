"""Images with their metadata, read one at a time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import ControlKind, DataError, DatasetSpec, Role

from .._images.image import Image


@dataclass(frozen=True)
class Precomputed:
    """Embeddings that come with a dataset.

    Parameters
    ----------
    summary
        One line.
    read
        Gives the matrix, `(n, D)` float32, one row for each item of the dataset.
    role, control
        As in `EncoderSpec`: counts of cells, say, are a structural control.
    """

    summary: str
    read: Callable[[], NDArray[np.float32]]
    role: Role = "encoder"
    control: ControlKind | None = None


@dataclass(frozen=True)
class Dataset:
    """Items and one row of metadata for each.

    Parameters
    ----------
    name
        What tables and provenance call it.
    metadata
        One row for each item.
    read
        Reads the item of a number; called anew each time, so nothing is kept in memory. None for
        datasets without images.
    spec
        What is asked of it, for datasets that can be evaluated.
    profiles
        Embeddings that come with it, by name; evaluated as ``precomputed:NAME``.
    """

    name: str
    metadata: pd.DataFrame
    read: Callable[[int], Image] | None
    spec: DatasetSpec | None = None
    profiles: Mapping[str, Precomputed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.metadata.empty:
            raise DataError(f"{self.name} has no items")
        if self.read is None and not self.profiles:
            raise DataError(f"{self.name} has neither images nor embeddings")
        if self.spec is not None:
            wanted = {self.spec.label, self.spec.group, *(t.target for t in self.spec.tasks)}
            wanted |= {*self.spec.negative, *self.spec.domains, *self.spec.confounders}
            wanted |= {*self.spec.factors, *filter(None, (self.spec.perturbation,))}
            wanted |= {*filter(None, (self.spec.position,))}
            wanted |= {column for t in self.spec.tasks for column in t.where}
            if self.spec.batch:
                wanted.add(self.spec.batch)
            missing = sorted(wanted - set(self.metadata.columns))
            if missing:
                raise DataError(f"{self.name} lacks the metadata column(s) {', '.join(missing)}")

    def __len__(self) -> int:
        return len(self.metadata)

    def __getitem__(self, i: int) -> Image:
        if self.read is None:
            raise DataError(
                f"{self.name} has no images, only embeddings: "
                + ", ".join(f"precomputed:{name}" for name in self.profiles)
            )
        return self.read(range(len(self))[i])

    def __iter__(self) -> Iterator[Image]:
        return (self[i] for i in range(len(self)))
