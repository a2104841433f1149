"""Promises about outputs that can be requested: channels, tokens, layers and attention."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._encoders.features import Features
from ._compare import OTHER_SHAPES, difference, same
from ._promise import BrokenPromiseError, NotCheckedError, promise
from ._subject import Subject

Images = list[NDArray[Any]]


def _images(subject: Subject) -> Images:
    counts = subject.usual(3)
    if subject.encoder.requires_equal_channels:
        counts = counts[-1:]
    return [
        image for count in (*counts, counts[0]) for image in subject.images(count, 1, seed=count)
    ]


def _asked(subject: Subject, images: Images, what: str, value: Any = True) -> Features | None:
    """Encode with an optional output; None where it is not offered and cleanly refused."""
    if what in subject.encoder.outputs:
        return subject.encode(images, **{what: value})
    _refused(subject, what, lambda: subject.encode(images[:1], **{what: value}))
    return None


def _refused(subject: Subject, what: str, encode: Callable[[], object]) -> None:
    try:
        encode()
    except ValueError as error:
        raise NotCheckedError(
            f"{subject.encoder.name} does not have it and raises ValueError"
        ) from error
    raise BrokenPromiseError(f"{what} is not in outputs, but requesting it raises no ValueError")


@promise("channels", "channels can be requested", needs=("batch", "channels-used"))
def channels(subject: Subject) -> None:
    """Ask for one row for each channel, and change single channels."""
    images = _images(subject)
    found = _asked(subject, images, "channels")
    if found is None:
        return
    rows, total = found.channels, sum(len(image) for image in images)
    if rows is None or rows.ndim != 2 or len(rows) != total:
        raise BrokenPromiseError(f"there is not one row for each of {total} channels")
    _check_finite(rows)
    wide, columns = found.embedding.shape[1], rows.shape[1]
    joined = columns * len(images[0]) if subject.encoder.requires_equal_channels else columns
    measured = subject.spec.control in ("statistics", "structural")  # may join other numbers too
    if wide not in (columns, joined) and not measured:
        raise BrokenPromiseError(f"rows have {columns} columns, the embedding {wide}")
    same(found.embedding, subject.encode(images).embedding, OTHER_SHAPES, "the embedding beside")
    _check_places(subject, images, rows)


def _check_places(subject: Subject, images: Images, before: Tensor) -> None:
    """Replace single channels: rows of other images stay, and mostly the own row changes."""
    starts = np.cumsum([0, *(len(image) for image in images)])
    wrong = tried = 0
    for i, image in enumerate(images):
        (other,) = subject.images(len(image), 1, seed=77)
        for k in range(min(len(image), 4)):
            changed = [x.copy() for x in images]
            changed[i][k] = other[k]
            after = subject.encode(changed, channels=True).channels
            assert after is not None
            moved = (after - before).abs().amax(1)
            own = moved[starts[i] : starts[i + 1]]
            outside = torch.cat([moved[: starts[i]], moved[starts[i + 1] :]])
            limit = max(1e-5 * float(before.abs().max()), 1e-9)
            if (outside > limit).any() or not bool((own > 0).any()):
                raise BrokenPromiseError(f"rows are not in the order of the images ({i})")
            if len(image) > 1:
                tried += 1
                wrong += int(own.argmax()) != k
    if wrong > tried / 2:
        raise BrokenPromiseError("rows are not in the order of the channels")


@promise("tokens", "tokens can be requested", needs=("batch",))
def tokens(subject: Subject) -> None:
    """Ask for tokens, and check where each image starts."""
    images = _images(subject)
    found = _asked(subject, images, "tokens")
    if found is None:
        return
    rows, offsets = found.tokens, found.token_offsets
    if rows is None or offsets is None or len(offsets) != len(images) + 1:
        raise BrokenPromiseError("tokens and token_offsets do not fit")
    if int(offsets[0]) or int(offsets[-1]) != len(rows) or bool((offsets.diff() <= 0).any()):
        raise BrokenPromiseError(f"token_offsets are {offsets.tolist()} for {len(rows)} tokens")
    _check_finite(rows)
    alone = [subject.encode([image], tokens=True).tokens for image in images]
    same(torch.cat([a for a in alone if a is not None]), rows, OTHER_SHAPES, "tokens alone")


@promise("layer", "layer can be requested", needs=("batch", "images"))
def layer(subject: Subject) -> None:
    """Ask for the first and the last layer, counted from both ends."""
    images = _images(subject)[:2]
    first = _asked(subject, images, "layer", 1)
    if first is None:
        return
    depth = subject.encoder.depth
    if not depth:
        raise BrokenPromiseError(f"its depth is {depth!r}, so the layers are unknown")
    _check_finite(first.embedding)
    usual = subject.encode(images).embedding
    for last in (depth, -1):
        same(subject.encode(images, layer=last).embedding, usual, OTHER_SHAPES, f"layer {last}")
    if depth > 1 and difference(first.embedding, usual) == 0:
        raise BrokenPromiseError("layer has no effect")
    for outside in (0, depth + 1):
        try:
            subject.encode(images, layer=outside)
        except ValueError:
            continue
        raise BrokenPromiseError(f"layer {outside} of {depth} raises no ValueError")


@promise("attention", "attention can be requested", needs=("batch",))
def attention(subject: Subject) -> None:
    """Ask for attention between channels, whose rows sum to 1."""
    images = _images(subject)
    asked: dict[str, Any] = {"preprocess": subject.side is None}
    if subject.stains is not None:
        asked["stains"] = [subject.stains[: len(image)] for image in images]
    if "attention" not in subject.encoder.outputs:
        _refused(subject, "attention", lambda: subject.encoder.attention(images[:1]))
        return
    for image, found in zip(images, subject.encoder.attention(images, **asked), strict=True):
        groups = len(image) + 1
        if found.channels.shape[2:] != (groups, groups) or found.cls.shape[2] != len(image):
            shapes = f"{tuple(found.channels.shape)} and {tuple(found.cls.shape)}"
            raise BrokenPromiseError(f"it is {shapes} for an image of {len(image)} channels")
        to_all = found.channels[:, :, 0, 0] + found.cls.flatten(2).sum(-1)
        for sums in (found.channels.sum(-1), to_all):
            worst = float((sums - 1).abs().max())
            if not worst < 1e-2:  # bfloat16 rounds at 4e-3
                raise BrokenPromiseError(f"it sums to 1 only within {worst:.1e}")


def _check_finite(rows: Tensor) -> None:
    if not bool(rows.isfinite().all()):
        raise BrokenPromiseError("they hold NaN or infinite numbers")
