"""Labels of a training run: classes or numbers, and which images are held out."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import DataError

from .._data.dataset import Dataset, check_columns
from .images import TrainingImages

HELD_OUT = 0.2
"""Part of the groups that validation keeps."""


@dataclass(frozen=True)
class Labels:
    """What is to be predicted for each training image.

    Parameters
    ----------
    column
        Name of the column.
    classes
        Its values, or None where it is a number.
    values
        Class codes, or numbers with mean 0 and standard deviation 1 over the training part; `(n,)`.
    mean, sd
        Of the numbers.
    held_out
        Images of the groups that validation keeps, `(n,)` boolean.
    """

    column: str
    classes: tuple[str, ...] | None
    values: NDArray[np.float64]
    mean: float
    sd: float
    held_out: NDArray[np.bool_]

    @property
    def outputs(self) -> int:
        """Outputs of the layer that predicts."""
        return 1 if self.classes is None else len(self.classes)

    def named(self, outputs: Tensor) -> list[str] | list[float]:
        """Turn outputs `(n, outputs)` into values of the column."""
        if self.classes is None:
            return (outputs[:, 0].double() * self.sd + self.mean).tolist()
        return [self.classes[k] for k in outputs.argmax(1).tolist()]


def read_labels(
    images: TrainingImages, dataset: Dataset, label: str, group: str, *, seed: int
) -> tuple[TrainingImages, Labels]:
    """Read a column for the images that have it, and hold out a fifth of the groups.

    Numbers with more than ten values are predicted as numbers, anything else as classes.

    Raises
    ------
    DataError
        For a column that is missing, has one value, or one in a single group only; or for fewer
        than two groups.
    """
    check_columns((label, group), dataset.metadata, dataset.name)
    table = dataset.metadata.iloc[images.places]
    known = (table[label].notna() & table[group].notna()).to_numpy()
    if not known.any():
        raise DataError(f"no image has both {label} and {group}")
    images = images.part(np.flatnonzero(known).tolist())
    column, groups = table[label][known], table[group][known].astype(str).to_numpy()
    numeric = column.dtype.kind in "fiu" and column.nunique() > 10
    classes, codes = np.unique(column.to_numpy(), return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"{label} has one value, {classes[0]}: there is nothing to learn")
    units = np.unique(groups)
    if len(units) < 2:
        raise DataError(f"{group} has one value, {units[0]}: validation needs groups of its own")
    draw = np.random.default_rng((seed, 0, 0, SPLIT))
    kept = draw.permutation(units)[: max(1, round(HELD_OUT * len(units)))]
    held_out = np.isin(groups, kept)
    if numeric:
        numbers = column.to_numpy(dtype=float)
        mean, sd = float(numbers[~held_out].mean()), float(numbers[~held_out].std())
        return images, Labels(label, None, (numbers - mean) / sd, mean, sd, held_out)
    missing = sorted(set(range(len(classes))) - set(codes[~held_out].tolist()))
    if missing:
        raise DataError(
            f"{label} has {classes[missing[0]]!r} in held-out groups only "
            f"({', '.join(map(str, kept[:3]))}): it needs at least two groups, or another seed"
        )
    names = tuple(map(str, classes.tolist()))
    return images, Labels(label, names, codes.astype(float), 0.0, 1.0, held_out)


SPLIT = 3
"""What the seed is for, as `CROPS` in views.py."""


def weights_of(labels: Labels) -> Tensor | None:
    """Weight of each class in the loss, so that rare ones count as much; None for numbers."""
    if labels.classes is None:
        return None
    counts = np.bincount(labels.values[~labels.held_out].astype(int), minlength=labels.outputs)
    return torch.from_numpy(counts.mean() / np.maximum(counts, 1)).float()
