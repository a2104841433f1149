"""Images go through an encoder a bounded number at a time, fewer where memory runs out."""

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

NOMINAL = 224 * 224
"""Pixels of a plane in which budgets are counted, since tokens go with pixels."""
Output = TypeVar("Output")


class ImageTooLargeError(Exception):
    """Memory ran out with a single image; `place` says which."""

    def __init__(self, place: int) -> None:
        super().__init__(f"image {place} alone is too large for the memory")
        self.place = place


class PlaneBudget:
    """How many planes of 224 × 224 pixels, or as many pixels of another size, go at once.

    Tokens go with pixels, so that a batch of one-channel images and a batch of ten-channel images
    hold as many tokens. Once memory has run out the budget stays smaller.
    """

    def __init__(self, planes: int) -> None:
        self.pixels = planes * NOMINAL
        self._said = False

    def consecutive(self, counts: Sequence[int], size: tuple[int, int]) -> list[tuple[int, int]]:
        """Divide images of one size, in their order, into parts `(first, last + 1)`."""
        parts: list[tuple[int, int]] = []
        first = pixels = 0
        for i, count in enumerate(counts):
            more = count * size[0] * size[1]
            if i > first and pixels + more > self.pixels:
                parts.append((first, i))
                first, pixels = i, 0
            pixels += more
        return [*parts, (first, len(counts))]

    def halve(self, pixels: int) -> None:
        """Take half of what was too much from now on; say so the first time."""
        self.pixels = max(1, pixels // 2)
        if not self._said:
            self._said = True
            warnings.warn(
                f"memory ran out with {pixels / NOMINAL:.0f} planes of 224 × 224 pixels at once; "
                "going on with half as many, or fewer. Give batch_planes= to begin with fewer",
                stacklevel=2,
            )


def run_in_batches(
    shapes: Sequence[Sequence[int]],
    run: Callable[[list[int]], Output],
    *,
    budget: PlaneBudget,
    most: int | None = None,
) -> Iterator[tuple[list[int], Output]]:
    """Run over images in groups of one size, like channel counts together.

    Parameters
    ----------
    shapes
        `(C, H, W)` of each image.
    run
        Called with the places of a group's images. Where it runs out of memory, the budget is
        halved and the same images go again, fewer at once.
    budget
        Planes that go at once, by their pixels; an image that alone has more goes alone.
    most
        Planes that go at once at most, whatever their pixels.

    Yields
    ------
    tuple
        The places of a group, and what `run` gave for it.

    Raises
    ------
    ImageTooLargeError
        Where memory runs out with a single image.
    """
    waiting = sorted(range(len(shapes)), key=lambda i: (*shapes[i][1:], shapes[i][0]))
    while waiting:
        members: list[int] = []
        planes = pixels = 0
        for i in waiting:
            channels, height, width = shapes[i]
            more = channels * height * width
            full = pixels + more > budget.pixels or (most is not None and planes + channels > most)
            if members and (full or tuple(shapes[i][1:]) != tuple(shapes[members[0]][1:])):
                break
            members.append(i)
            planes, pixels = planes + channels, pixels + more
        result = None
        try:
            result = run(members)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(members) == 1:
                raise ImageTooLargeError(members[0]) from error
        # Not inside the handler: the error holds on to what filled the memory.
        if result is None:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            budget.halve(pixels)
            continue
        del waiting[: len(members)]
        yield members, result


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, on a GPU or on the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
