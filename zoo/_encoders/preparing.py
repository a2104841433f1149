"""Prepare images for an encoder, where that is fastest."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.registry import EncoderSpec, ZooError

from .._images.prepare_together import prepare_together
from ..metrics._torch_defaults import with_torch_defaults
from .batching import is_out_of_memory
from .inputs import Pixels

AT_ONCE = 64
"""Images prepared at once."""
ON_GPU = 2**30
"""Bytes of prepared images that stay on a GPU until they are encoded."""


class Preparing(Protocol):
    """The parts of an encoder that are needed here."""

    spec: EncoderSpec
    model: Any

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    @property
    def own_prepare(self) -> str | None:
        """Code that prepares images instead of the record's preprocessing, or None."""
        ...

    def prepare(self, image: Pixels, item: str) -> Tensor:
        """Prepare one checked image on the CPU."""
        ...


def prepare_all(encoder: Preparing, images: Sequence[Pixels], items: Sequence[str]) -> list[Tensor]:
    """Prepare any number of checked images, or raise the first error."""
    found: list[Tensor] = []
    held = 0
    for first in range(0, len(images), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        for planes in prepare_each(encoder, images[part], items[part]):
            if isinstance(planes, ZooError):
                raise planes
            held += planes.nbytes
            found.append(planes if held <= ON_GPU else planes.cpu())
    return found


@with_torch_defaults
def prepare_each(
    encoder: Preparing, images: Sequence[Pixels], items: Sequence[str]
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
