"""Dataset and encoder, as they travel to other processes."""

import pickle
import sys
from dataclasses import dataclass

import torch

from zoo.registry import DataError

from ..._data.dataset import Dataset
from ..._encoders.contract import Encoder


@dataclass(frozen=True)
class Payload:
    """What a worker needs: pickled, with the places that Python imports from.

    Parameters
    ----------
    path
        Entries of `sys.path`, which must be there before `content` is unpickled.
    content
        Dataset and encoder; the encoder is on the CPU.
    """

    path: tuple[str, ...]
    content: bytes

    def unpack(self) -> tuple[Dataset, Encoder]:
        """Return dataset and encoder."""
        sys.path.extend(entry for entry in self.path if entry not in sys.path)
        dataset, encoder = pickle.loads(self.content)
        return dataset, encoder


def pack(dataset: Dataset, encoder: Encoder) -> Payload:
    """Pickle a dataset and an encoder, which is moved to the CPU.

    Raises
    ------
    DataError
        If one of them cannot be pickled.
    """
    encoder.to("cpu")
    try:
        content = pickle.dumps((dataset, encoder))
    except Exception as error:  # pickling raises whatever the object does
        raise DataError(
            f"{dataset.name} and {encoder.name} cannot be sent to other processes ({error}): use "
            "one worker"
        ) from error
    return Payload(tuple(sys.path), content)


def prepare(encoder: Encoder, threads: int, device: str) -> None:
    """Give an encoder in a worker its share of the machine."""
    torch.set_num_threads(threads)
    if device != "cpu":
        encoder.to(device)
