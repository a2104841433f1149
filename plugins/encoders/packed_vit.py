"""What vision transformers share as encoders: checks of images, outputs, filling of networks."""

from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from zoo import plugin

from .random_parameters import draw_parameters

Network = TypeVar("Network", bound=nn.Module)


def places_of(batch: plugin.ImageBatch, known: int, name: str) -> Tensor:
    """Return the number of each channel, `(sum of C_i,)`; by default counted from 0.

    Raises `ImageError` for a number that is not among the `known` of the encoder called `name`.
    """
    if batch.channel_index is None:
        return torch.cat([torch.arange(count) for count in batch.counts.tolist()])
    places = batch.channel_index
    if int(places.min()) < 0 or int(places.max()) >= known:
        raise plugin.ImageError(
            f"channel_index must lie in 0 to {known - 1} for {name}, but goes from "
            f"{int(places.min())} to {int(places.max())}"
        )
    return places


def in_slots(batch: plugin.ImageBatch, count: int, name: str) -> Tensor:
    """Return images `(B, C, H, W)` with each channel at the place that its number says.

    Raises `ImageError` unless each image has the `count` channels of the encoder called `name`,
    each once.
    """
    if batch.counts.tolist() != [count] * len(batch):
        raise plugin.ImageError(f"{name} takes {count} channels, no more and no fewer")
    places = places_of(batch, count, name).view(-1, count)
    order = places.argsort(1)
    if bool((places.gather(1, order) != torch.arange(count)).any()):
        raise plugin.ImageError(
            f"channel_index must name each of the {count} channels of {name} once"
        )
    images = batch.planes.view(len(batch), count, *batch.size)
    if bool((order == torch.arange(count)).all()):
        return images
    return images[torch.arange(len(batch))[:, None], order]


def check_patches(size: tuple[int, int], patch: int, name: str) -> None:
    """Raise `ImageError` unless sides are multiples of the patch of the encoder called `name`."""
    if size[0] % patch or size[1] % patch:
        raise plugin.ImageError(
            f"images are {size[0]} × {size[1]} pixels, but {name} cuts patches of "
            f"{patch} × {patch}: crop or pad to multiples of {patch}, or let encode prepare "
            "them with preprocess=True"
        )


def features(
    embedding: Tensor,
    counts: Tensor,
    patches: Tensor | None,
    *,
    channels: Tensor | None = None,
    tokens: bool = False,
) -> plugin.Features:
    """Put together what an encoder returns; `patches` are `(sum of C_i, P, D)`."""
    if patches is None or not tokens:
        return plugin.Features(embedding, counts, channels)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)]) * patches.shape[1]
    return plugin.Features(embedding, counts, channels, patches.flatten(0, 1), offsets)


def filled(
    network: type[Network],
    spec: plugin.EncoderSpec,
    weights: Path | None,
    seed: int = 0,
    **layout: bool,
) -> Network:
    """Build a network from the options of a record, and fill it from `weights` or by `seed`.

    `layout` tells the variants of published files apart.

    Raises
    ------
    WeightsNotFoundError
        Without weights, unless the record is seeded: never an untrained network under a trained
        name.
    """
    if weights is None and not spec.seeded:
        raise plugin.WeightsNotFoundError(f"{spec.name} was to be built without its weights")
    with torch.device("meta"):
        model = network(**spec.options, **layout)
    if weights is None:
        model.to_empty(device="cpu")
        draw_parameters(model, seed)
    else:
        plugin.load_state(model, weights)
    return model


def tensor_names(weights: Path | None) -> frozenset[str]:
    """Return the names of the tensors of a file; none where it is broken, which loading tells."""
    if weights is None:
        return frozenset()
    try:
        with safe_open(weights, "pt") as file:
            return frozenset(file.keys())
    except (OSError, SafetensorError):
        return frozenset()
