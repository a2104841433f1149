"""Run images through an encoder: in bounded batches, or a packed batch without a copy."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

import torch

from zoo.registry import ImageError

from .._images.batch import ImageBatch
from .._images.checks import finite_planes
from .batching import NOMINAL, ImageTooLargeError, PlaneBudget, is_out_of_memory, run_in_batches
from .features import Features, join
from .inputs import Inputs
from .progress import Progress

Output = TypeVar("Output")


def in_batches(
    inputs: Inputs,
    run: Callable[[list[int]], Output],
    *,
    budget: PlaneBudget,
    most: int | None,
    too_large: Callable[[int, int, int], str],
) -> Iterator[tuple[list[int], Output]]:
    """Run over images in bounded batches.

    Parameters
    ----------
    run
        Called with the indices of the images of a batch.
    budget, most
        Default batch size, and the user's limit of planes in a batch.
    too_large
        Message for an image that is too large, from its channels, height and width.
    """
    if most is not None and most < 1:
        raise ValueError(f"batch_planes is {most}, but must be positive")
    shapes = [tuple(planes.shape) for planes in inputs.planes]
    bound = budget if most is None else PlaneBudget(2**62 // NOMINAL)
    try:
        yield from run_in_batches(shapes, run, budget=bound, most=most)
    except ImageTooLargeError as error:
        channels, height, width = shapes[error.place]
        raise ImageError(too_large(channels, height, width)) from error


def encode_in_place(
    batch: ImageBatch,
    forward: Callable[[ImageBatch], Features],
    *,
    budget: PlaneBudget,
    device: torch.device,
    dtype: torch.dtype,
) -> Features | None:
    """Encode a packed batch without a copy, in parts if it is large; None if out of memory.

    The check for finite pixels is started before and read afterwards, to avoid synchronising with
    a GPU in between.
    """
    counts = batch.counts.tolist()
    finite = finite_planes(batch.planes)
    parts = budget.consecutive(counts, batch.size)
    pieces = []
    try:
        for first, last in parts:
            part = batch if len(parts) == 1 else batch.part(first, last)
            with torch.inference_mode():
                ready = replace(part, planes=part.planes.to(device, dtype))
                pieces.append((list(range(first, last)), forward(ready)))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    sound = finite.tolist()
    if not all(sound):
        plane = sound.index(False)
        i = next(i for i, end in enumerate(accumulate(counts)) if plane < end)
        raise ImageError(
            f"image {i} has NaN or infinite pixels in channel {plane - sum(counts[:i])}"
        )
    return join(pieces, counts)


def collect(
    batches: Iterable[tuple[list[int], Features]], counts: list[int], progress: Progress
) -> Features:
    """Gather the features of batches, telling how far they are; `counts` are all channels."""
    pieces: list[tuple[list[int], Features]] = []
    done = 0
    for members, features in batches:
        pieces.append((members, features))
        done += len(members)
        progress("encoding", done, len(counts))
    return join(pieces, counts)
