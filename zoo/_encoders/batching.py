"""Run images in batches of bounded size, smaller after an out-of-memory error."""

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

NOMINAL = 224 * 224
"""Pixels of the nominal plane that budgets are counted in."""
Output = TypeVar("Output")


class ImageTooLargeError(Exception):
    """A single image is too large for the memory; `place` is its index."""

    def __init__(self, place: int) -> None:
        super().__init__(f"image {place} alone is too large for the memory")
        self.place = place


class PlaneBudget:
    """Batch size in planes of 224 × 224 pixels, or as many pixels of another size.

    The number of tokens is proportional to the number of pixels, so batches of one-channel and of
    ten-channel images hold the same number of tokens. An out-of-memory error reduces the budget
    permanently.
    """

    def __init__(self, planes: int) -> None:
        self.pixels = planes * NOMINAL
        self._warned = False

    def consecutive(self, counts: Sequence[int], size: tuple[int, int]) -> list[tuple[int, int]]:
        """Split images of one size, in order, into parts `(first, last + 1)`."""
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
        """Reduce the budget to half of `pixels`; warn the first time."""
        self.pixels = max(1, pixels // 2)
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"out of memory with {pixels / NOMINAL:.0f} planes of 224 × 224 pixels in a batch; "
                "continuing with at most half as many. Set batch_planes= to start with fewer",
                stacklevel=2,
            )


def run_in_batches(
    shapes: Sequence[Sequence[int]],
    run: Callable[[list[int]], Output],
    *,
    budget: PlaneBudget,
    most: int | None = None,
) -> Iterator[tuple[list[int], Output]]:
    """Run over images in batches of one size, similar channel counts together.

    Parameters
    ----------
    shapes
        `(C, H, W)` of each image.
    run
        Called with the indices of a batch's images. On an out-of-memory error the budget is
        halved and the images are run again in smaller batches.
    budget
        Batch size in pixels; a larger image runs alone.
    most
        Maximum number of planes in a batch, whatever their size.

    Yields
    ------
    tuple
        The indices of a batch, and the result of `run`.

    Raises
    ------
    ImageTooLargeError
        If a single image is too large for the memory.
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
        # Outside the handler, because the exception keeps the tensors alive.
        if result is None:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            budget.halve(pixels)
            continue
        del waiting[: len(members)]
        yield members, result


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory, on a GPU or on the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
