"""Prepare the images of a chunk for an encoder, where that is fastest."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import ZooError

from .._images.prepare_together import prepare_together
from ..metrics._torch_defaults import with_torch_defaults
from .batching import is_out_of_memory
from .contract import Encoder


@with_torch_defaults
def prepare_each(
    encoder: Encoder, images: Sequence[NDArray[Any] | Tensor], items: Sequence[str]
) -> list[Tensor | ZooError]:
    """Prepare checked images; where one cannot be, return why in its place.

    On the GPU of the encoder, unless its memory is full, the encoder has a `prepare` of its own, or
    it is no network: noise that is seeded by pixels is to be the same everywhere.
    """
    on_gpu = encoder.device.type == "cuda" and encoder.model is not None
    if on_gpu and encoder.own_prepare is None:
        try:
            return prepare_together(images, encoder.spec.preprocessing, items, encoder.device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
    found: list[Tensor | ZooError] = []
    for image, item in zip(images, items, strict=True):
        try:
            found.append(encoder.prepare(image, item))
        except ZooError as error:
            found.append(error)
    return found
