"""Scores of a network on labelled images while it is trained."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from zoo.registry import DataError

from .._data.dataset import Dataset, check_columns
from .._encoders.contract import Encoder
from ..metrics import balanced_accuracy, folds, neighbour_labels, probe_labels
from .images import TrainingImages


def make_probe(
    encoder: Encoder, images: TrainingImages, dataset: Dataset, label: str, group: str
) -> Callable[[], dict[str, float]]:
    """Return a function that scores `encoder` as it then is, on held-out groups.

    Raises
    ------
    DataError
        For columns that are not there, or fewer than two classes or groups.
    """
    check_columns((label, group), dataset.metadata, dataset.name)
    table = dataset.metadata.iloc[images.places]
    known = (table[label].notna() & table[group].notna()).to_numpy()
    codes = np.unique(table[label][known].to_numpy(), return_inverse=True)[1]
    groups = np.unique(table[group][known].astype(str), return_inverse=True)[1]
    for column, values in ((label, codes), (group, groups)):
        if len(np.unique(values)) < 2:
            raise DataError(f"{column} has fewer than two values: held-out scores need two")
    splits = list(folds(groups))
    members = np.flatnonzero(known)

    def score() -> dict[str, float]:
        rows = embed(encoder, images, members.tolist())
        found = {
            "knn": neighbour_labels(rows, codes[:, None], splits),
            "probe": probe_labels(rows, codes[:, None], splits),
        }
        return {name: float(balanced_accuracy(codes, p[:, 0])) for name, p in found.items()}

    return score


def embed(encoder: Encoder, images: TrainingImages, members: Sequence[int]) -> np.ndarray:
    """Embed prepared images as the trained encoder will, `(n, D)` float64."""
    assert encoder.model is not None
    training = encoder.model.training
    encoder.model.eval()
    cropped = replace(encoder.spec.preprocessing, scaling="none", standardise=None)
    before = encoder.spec.preprocessing
    encoder.with_preprocessing(cropped)
    try:
        found = [
            encoder.encode(
                [images[i] for i in some], channel_index=[images.index(i).tolist() for i in some]
            ).embedding
            for some in (members[first : first + 64] for first in range(0, len(members), 64))
        ]
    finally:
        encoder.with_preprocessing(before)
        encoder.model.train(training)
    return torch.cat(found).double().cpu().numpy()
