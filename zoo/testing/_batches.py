"""Promises about batches: the other images, their order and their number have no effect."""

from typing import Any

import numpy as np
import torch

from ._compare import OTHER_PLACES, OTHER_SHAPES, SAME_SHAPES, same
from ._promise import promise
from ._subject import Subject

# More than eight images, and more planes than fit into sixteen: an odd number.
MANY = 25


def batches(subject: Subject, seed: int = 0) -> list[list[Any]]:
    """Return large batches: one of all channel counts, or one for each if they must be equal."""
    first, *others = [c for c in subject.counts if c <= max(subject.low, 12)]
    others = sorted({*others[:1], *others[2:4], *others[-1:]})
    many = [subject.images(first, MANY, seed), *(subject.images(c, 3, seed) for c in others)]
    if subject.encoder.requires_equal_channels:
        return many
    return [[image for images in many for image in images]]


@promise("order", "the order of images does not matter", needs=("range", "precision"))
def order(subject: Subject) -> None:
    """Encode reversed, rotated and shuffled batches."""
    for images in batches(subject):
        before = subject.rows(images)
        n = len(images)
        shuffled = np.random.default_rng(2).permutation(n)
        for places in (np.arange(n)[::-1], shuffled):
            found = subject.rows([images[i] for i in places])
            same(found, before[places.copy()], OTHER_PLACES, "in another order")
    few = subject.images(subject.low, 3)
    same(subject.rows(few[::-1]).flip(0), subject.rows(few), OTHER_PLACES, "three, reversed")


@promise("batch", "an image gives the same embedding alone and in a batch", needs=("order",))
def batch(subject: Subject) -> None:
    """Encode alone, in batches of one plane, and beside other images."""
    for images, others in zip(batches(subject), batches(subject, seed=1), strict=True):
        together = subject.rows(images)
        some = sorted({0, 1, len(images) // 2, *range(MANY, len(images), 2), len(images) - 1})
        some = [i for i in some if i < len(images)]
        alone = torch.cat([subject.rows([images[i]]) for i in some])
        same(alone, together[some], OTHER_SHAPES, "alone")
        split = subject.rows(images, batch_planes=1)
        same(split, together, OTHER_SHAPES, "in batches of one image")
        split = subject.rows(images, batch_planes=9 * len(images[0]))
        same(split, together, OTHER_SHAPES, "in smaller batches")
        for kept in (0, 1):
            mixed = [
                x if i % 2 == kept else y
                for i, (x, y) in enumerate(zip(images, others, strict=True))
            ]
            found = subject.rows(mixed)
            same(found[kept::2], together[kept::2], SAME_SHAPES, "beside other images")
