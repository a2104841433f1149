"""Promises about channels: the declared range, each channel, and named stains."""

import numpy as np
import torch

from zoo.registry import ImageError

from ._compare import OTHER_SHAPES, same
from ._promise import BrokenPromiseError, NotCheckedError, promise
from ._subject import Subject

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito", "Actin", "Tubulin", "brightfield")


@promise("range", "every declared number of channels is taken, and others are refused",
         needs=("images",))  # fmt: skip
def every_count(subject: Subject) -> None:
    """Encode two images of each number of channels."""
    wanted = subject.spec.embedding_size
    for count in subject.counts:
        try:
            found = subject.rows(subject.images(count, 2))
        except Exception as error:
            raise BrokenPromiseError(
                f"{count} channels raise {type(error).__name__}: {error}"
            ) from error
        if not bool(found.isfinite().all()):
            raise BrokenPromiseError(f"{count} channels give NaN or infinite numbers")
        if wanted is not None and found.shape[1] != wanted:
            raise BrokenPromiseError(f"{count} channels give {found.shape[1]} columns")
        if subject.tells_apart and torch.equal(found[0], found[1]):
            raise BrokenPromiseError(f"different images of {count} channels give the same numbers")
    low, high = subject.spec.channels
    for count in [c for c in (low - 1, (high or 0) + 1) if c >= 1 and not _within(c, low, high)]:
        try:
            subject.encode(subject.images(count, 1))
        except ImageError:
            continue
        raise BrokenPromiseError(f"{count} channels raise no ImageError")


def _within(count: int, low: int, high: int | None) -> bool:
    return low <= count and (high is None or count <= high)


@promise("channels-used", "each channel changes the embedding", needs=("batch",))
def each_channel(subject: Subject) -> None:
    """Replace one channel after another."""
    if not subject.tells_apart:
        raise NotCheckedError("a degenerate or structural control may leave out channels")
    for count in {subject.low, *subject.usual(3)[-1:], *subject.counts[-1:]}:
        image, other = subject.images(count, 2, seed=11)
        before = subject.rows([image])
        for k in sorted({0, 1, count // 2, count - 1} & set(range(count))):
            changed = image.copy()
            changed[k] = other[k]
            if torch.equal(subject.rows([changed]), before):
                raise BrokenPromiseError(f"channel {k} of {count} has no effect")


@promise("stains", "images with named stains are encoded, or refused with an ImageError",
         needs=("range",))  # fmt: skip
def named_stains(subject: Subject) -> None:
    """Encode with usual stains, one channel after the other, and with some that are unknown."""
    count = min(max(subject.usual()), len(STAINS))
    images = subject.images(count, 2)
    refused = 0
    trials = [subject.stains or STAINS, STAINS, STAINS[::-1], [f"unknown {k}" for k in range(99)]]
    for names in trials:
        stains = [tuple(names)[:count]] * len(images)
        if len(stains[0]) != count:
            continue
        try:
            first = _encode(subject, images, stains)
            again = _encode(subject, images, stains)
        except ImageError:
            refused += 1
            continue
        except Exception as error:
            raise BrokenPromiseError(
                f"stains {', '.join(stains[0])} raise {type(error).__name__}: {error}"
            ) from error
        if not torch.equal(first, again) or not bool(first.isfinite().all()):
            raise BrokenPromiseError("images with stains give other numbers each time, or NaN")
    if subject.stains is not None and refused == len(trials):
        raise BrokenPromiseError("every image with stains is refused")
    if subject.spec.slots:
        _check_slots(subject)


def _check_slots(subject: Subject) -> None:
    """Give the channels in another order under their names, and one name that is not known."""
    slots = subject.spec.slots
    count = min(len(slots), max(subject.counts))
    (image,) = subject.images(count, 1)
    wanted = _encode(subject, [image], [slots[:count]])
    turned = _encode(subject, [image[::-1].copy()], [slots[:count][::-1]])
    same(turned, wanted, OTHER_SHAPES, "channels in another order, under their names")
    try:
        _encode(subject, [image], [(*slots[: count - 1], "unheard-of")])
    except ImageError:
        return
    raise BrokenPromiseError("a stain that is none of the slots raises no ImageError")


def _encode(subject: Subject, images: list[np.ndarray], stains: object) -> torch.Tensor:
    asked = {**subject.beside(images), "stains": stains}
    given = [image.copy() for image in images]
    prepared = subject.side is not None
    return subject.encoder.encode(given, preprocess=not prepared, **asked).embedding.cpu()
