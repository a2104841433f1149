"""Dataset and encoder, as they travel to other processes."""

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import torch

from zoo.registry import DataError

from ..._data.dataset import Dataset
from ..._encoders.contract import Encoder


def dump(dataset: Dataset, encoder: Encoder, file: IO[bytes]) -> None:
    """Write the places that Python imports from, and then dataset and encoder, pickled.

    Raises
    ------
    DataError
        If one of them cannot be pickled.
    """
    pickle.dump(list(sys.path), file)
    try:
        pickle.dump((dataset, encoder), file)
    except OSError as error:
        raise DataError(
            f"the encoder cannot be written for the workers ({error}): make room in the folder for "
            "temporary files, or set TMPDIR to another"
        ) from error
    except Exception as error:  # pickling raises whatever the object does
        raise DataError(
            f"{dataset.name} and {encoder.name} cannot be sent to other processes ({error}): "
            "leave out --workers and --engine"
        ) from error


def load(file: IO[bytes]) -> tuple[Dataset, Encoder]:
    """Read what `dump` wrote."""
    # Before the rest, which may be of modules that are found there.
    sys.path.extend(entry for entry in pickle.load(file) if entry not in sys.path)
    dataset, encoder = pickle.load(file)
    return dataset, encoder


@contextmanager
def on_the_cpu(encoder: Encoder) -> Iterator[None]:
    """Have the encoder leave its device to the workers for a while."""
    device = encoder.device
    if device.type == "cpu":
        yield
        return
    encoder.to("cpu")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        yield
    finally:
        encoder.to(device)


def prepare(encoder: Encoder, threads: int, device: str) -> None:
    """Give an encoder in a worker its share of the machine."""
    torch.set_num_threads(threads)
    if device != "cpu":
        encoder.to(device)
