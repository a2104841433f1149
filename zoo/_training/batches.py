"""Batches of views: which images each holds, and their packing without padding."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch

from .._images.batch import ImageBatch
from .images import TrainingImages
from .settings import Settings
from .views import View, cut_views

ORDER = 1
"""What the seed is for, as `CROPS` in views.py."""


@dataclass(frozen=True)
class Planned:
    """The images of one step, by their numbers, over all processes."""

    step: int
    epoch: int
    images: tuple[int, ...]


def plan(counts: Sequence[int], settings: Settings, *, first: int = 0) -> Iterator[Planned]:
    """Yield the batches of a run from step `first` on.

    The order of an epoch depends on seed and epoch alone. A batch ends with `settings.images`, or
    before the tokens of its large crops exceed `settings.tokens`; images left at the end of an
    epoch wait for the next.

    Parameters
    ----------
    counts
        Channels of each image.
    """
    step = 0
    for epoch in count():
        order = np.random.default_rng((settings.seed, epoch, 0, ORDER)).permutation(len(counts))
        for members in _filled(order.tolist(), counts, settings):
            if step >= settings.steps:
                return
            if step >= first:
                yield Planned(step, epoch, members)
            step += 1


def _filled(
    order: list[int], counts: Sequence[int], settings: Settings
) -> Iterator[tuple[int, ...]]:
    """Cut an epoch into batches; the last one only if there is no other."""
    patches = (settings.size // settings.patch_size) ** 2
    members: list[int] = []
    tokens, any_batch = 0, False
    for i in order:
        more = 2 * (1 + counts[i] * patches)
        full = settings.tokens is not None and len(members) > 1 and tokens + more > settings.tokens
        if len(members) == settings.images or full:
            yield tuple(members)
            members, tokens, any_batch = [], 0, True
        members.append(i)
        tokens += more
    if len(members) == settings.images or not any_batch:
        yield tuple(members)


@dataclass(frozen=True)
class ViewBatch:
    """Views of a step's images, as one process sees them.

    Parameters
    ----------
    planned
        The step.
    images
        Numbers of this process's images.
    large, small
        Views of one size, packed view by view and within a view image by image; `small` is None
        without small crops.
    """

    planned: Planned
    images: tuple[int, ...]
    large: ImageBatch
    small: ImageBatch | None

    @property
    def views(self) -> list[ImageBatch]:
        """Large and small ones."""
        return [self.large] if self.small is None else [self.large, self.small]


def pack_views(views: Sequence[Sequence[View]]) -> ImageBatch:
    """Pack views of one size: `views[v][i]` is view v of image i."""
    flat = [view for of_all in views for view in of_all]
    return ImageBatch(
        torch.cat([view.planes for view in flat]),
        torch.tensor([len(view.planes) for view in flat]),
        channel_index=torch.cat([view.channels for view in flat]),
    )


def make_batch(
    images: TrainingImages, planned: Planned, settings: Settings, rank: int, world: int
) -> ViewBatch:
    """Read the images of one process, cut their views and pack them."""
    members = planned.images[rank::world]
    cut = [
        [
            replace(view, channels=images.index(i)[view.channels])
            for view in cut_views(images[i], settings, planned.epoch, images.places[i])
        ]
        for i in members
    ]
    by_view = list(zip(*cut, strict=True))
    small = pack_views(by_view[2:]) if settings.small_crops else None
    return ViewBatch(planned, members, pack_views(by_view[:2]), small)


class Waiting:
    """Seconds that the network has waited for batches."""

    seconds = 0.0


def batches(
    images: TrainingImages,
    settings: Settings,
    *,
    first: int = 0,
    rank: int = 0,
    world: int = 1,
    waiting: Waiting,
) -> Iterator[ViewBatch]:
    """Yield the batches of one process from step `first` on; threads make the next meanwhile."""
    ahead: deque[Future[ViewBatch]] = deque()
    planned = plan(images.counts, settings, first=first)
    with ThreadPoolExecutor(settings.workers, thread_name_prefix="views") as pool:
        try:
            while True:
                while len(ahead) <= settings.workers and (step := next(planned, None)) is not None:
                    ahead.append(pool.submit(make_batch, images, step, settings, rank, world))
                if not ahead:
                    return
                began = time.monotonic()
                batch = ahead.popleft().result()
                waiting.seconds += time.monotonic() - began
                yield batch
        finally:
            for future in ahead:
                future.cancel()
