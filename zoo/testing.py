"""Conformance checks for authors of encoders: run them in your tests, as we do in ours."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.registry import EncoderSpec, Preprocessing

from ._encoders.contract import Encoder
from ._encoders.features import Features
from ._encoders.loading import load

__all__ = ["Check", "check_encoder"]


@dataclass(frozen=True)
class Check:
    """One check: `problem` is None if it passed, `skipped` is the reason if it did not run."""

    name: str
    problem: str | None = None
    skipped: str | None = None


def check_encoder(
    encoder: str | Encoder, *, channels: tuple[int, ...] | None = None
) -> list[Check]:
    """Check that an encoder fulfils the contract of `zoo.Encoder`, and raise if it does not.

    Parameters
    ----------
    encoder
        A name or a loaded encoder.
    channels
        Channel counts to try; by default the smallest that the record allows and the next two.

    Returns
    -------
    list of Check
        Every check that was run or skipped.

    Raises
    ------
    AssertionError
        Listing all checks that failed.

    Examples
    --------
    >>> checks = zoo.testing.check_encoder("pixel-statistics")
    >>> checks[0].name, len(checks)
    ('the record and the provenance are plain values', 10)
    """
    subject = load(encoder) if isinstance(encoder, str) else encoder
    if channels is None:
        low, high = subject.spec.channels
        channels = tuple(c for c in (low, low + 1, low + 2) if high is None or c <= high)
        if subject.requires_equal_channels:
            channels = channels[:1]
    images = _images(channels, subject.spec.preprocessing)
    together = _encode(subject, images)
    checks = [
        _record(subject),
        _shape(subject, together, len(images)),
        _repeatable(subject, images, together),
        _alone(subject, images, together),
        _any_order(subject, images, together),
        _dark(subject, channels[0]),
        *(_request(subject, images, what) for what in ("channels", "tokens", "layer")),
        _attention(subject, images),
    ]
    broken = [f"{c.name}: {c.problem}" for c in checks if c.problem]
    if broken:
        raise AssertionError(f"{subject.name} fails {len(broken)} of {len(checks)} checks:\n"
                             + "\n".join(broken))  # fmt: skip
    return checks


def _images(counts: tuple[int, ...], preprocessing: Preprocessing) -> list[NDArray[np.uint8]]:
    side = max(preprocessing.crop or 64, preprocessing.min_side)
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (c, side, side + 16), dtype=np.uint8) for c in (*counts, counts[0])
    ]


def _encode(encoder: Encoder, images: list[NDArray[np.uint8]], **asked: Any) -> Features:
    """Encode, with objects of two types if the encoder requires them."""
    if encoder.requires_object_types:
        masks = [_objects(image) for image in images]
        asked |= {"masks": masks, "types": [np.arange(16) % 2] * len(images)}
    return encoder.encode(images, **asked)


def _objects(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Label up to 16 blocks, those whose first pixel is odd: none in a black image."""
    height, width = image.shape[1] // 4, image.shape[2] // 4
    mask: NDArray[np.int64] = np.zeros(image.shape[1:], dtype=np.int64)
    for k in range(16):
        top, left = k // 4 * height, k % 4 * width
        if image[0, top, left] % 2:
            mask[top : top + height - 2, left : left + width - 2] = k + 1
    return mask


def _record(encoder: Encoder) -> Check:
    name = "the record and the provenance are plain values"
    try:
        json.dumps(encoder.provenance())
    except TypeError as error:
        return Check(name, str(error))
    sound = isinstance(encoder.spec, EncoderSpec)
    return Check(name, None if sound else f"spec is {encoder.spec!r}")


def _shape(encoder: Encoder, found: Features, count: int) -> Check:
    name = "the embedding is finite, float32, one row for each image"
    e = found.embedding
    if e.ndim != 2 or e.shape[0] != count or e.dtype != torch.float32:
        return Check(name, f"it is {tuple(e.shape)} {e.dtype} for {count} images")
    if not bool(e.isfinite().all()):
        return Check(name, "it holds NaN or infinite numbers")
    wanted = encoder.spec.embedding_size
    if wanted is not None and e.shape[1] != wanted:
        return Check(name, f"it has {e.shape[1]} columns, the record says {wanted}")
    return Check(name)


def _repeatable(encoder: Encoder, images: list[NDArray[np.uint8]], before: Features) -> Check:
    same = torch.equal(_encode(encoder, images).embedding, before.embedding)
    return Check("the same images give the same numbers", None if same else "they differ")


def _alone(encoder: Encoder, images: list[NDArray[np.uint8]], together: Features) -> Check:
    alone = torch.cat([_encode(encoder, [image]).embedding for image in images])
    return Check(
        "an image gives the same embedding alone and in a batch",
        _difference(alone, together.embedding),
    )


def _any_order(encoder: Encoder, images: list[NDArray[np.uint8]], before: Features) -> Check:
    back = _encode(encoder, images[::-1]).embedding.flip(0)
    return Check("the order of images does not matter", _difference(back, before.embedding))


def _dark(encoder: Encoder, count: int) -> Check:
    name = "black images give finite numbers"
    side = max(encoder.spec.preprocessing.crop or 64, encoder.spec.preprocessing.min_side)
    found = _encode(encoder, [np.zeros((count, side, side), dtype=np.uint8)]).embedding
    return Check(name, None if bool(found.isfinite().all()) else "they are not finite")


def _request(encoder: Encoder, images: list[NDArray[np.uint8]], what: str) -> Check:
    name = f"{what} can be requested"
    if what not in encoder.outputs:
        try:
            _encode(encoder, images[:1], **{what: 1 if what == "layer" else True})
        except ValueError:
            return Check(name, skipped=f"{encoder.name} does not have it and raises ValueError")
        return Check(name, "it is not in outputs, but requesting it raises no ValueError")
    found = _encode(encoder, images, **{what: 1 if what == "layer" else True})
    if what == "channels":
        rows = sum(len(image) for image in images)
        sound = found.channels is not None and len(found.channels) == rows
        return Check(name, None if sound else f"there is not one row for each of {rows} channels")
    if what == "tokens":
        offsets, tokens = found.token_offsets, found.tokens
        sound = offsets is not None and tokens is not None and int(offsets[-1]) == len(tokens)
        sound = sound and offsets is not None and len(offsets) == len(images) + 1
        return Check(name, None if sound else "tokens and token_offsets do not fit")
    if what == "layer" and not encoder.depth:
        return Check(name, f"its depth is {encoder.depth!r}, so the layers are unknown")
    return Check(name)


def _attention(encoder: Encoder, images: list[NDArray[np.uint8]]) -> Check:
    name = "attention can be requested"
    if "attention" not in encoder.outputs:
        try:
            encoder.attention(images[:1])
        except ValueError:
            return Check(name, skipped=f"{encoder.name} does not have it and raises ValueError")
        return Check(name, "it is not in outputs, but requesting it raises no ValueError")
    for image, found in zip(images, encoder.attention(images), strict=True):
        groups = len(image) + 1
        if found.channels.shape[2:] != (groups, groups) or found.cls.shape[2] != len(image):
            shapes = f"{tuple(found.channels.shape)} and {tuple(found.cls.shape)}"
            return Check(name, f"it is {shapes} for an image of {len(image)} channels")
        to_all = found.channels[:, :, 0, 0] + found.cls.flatten(2).sum(-1)
        for sums in (found.channels.sum(-1), to_all):
            worst = float((sums - 1).abs().max())
            if not worst < 1e-2:  # bfloat16 rounds at 4e-3
                return Check(name, f"it sums to 1 only within {worst:.1e}")
    return Check(name)


def _difference(found: torch.Tensor, wanted: torch.Tensor) -> str | None:
    scale = max(float(wanted.abs().max()), 1e-12)
    worst = float((found - wanted).abs().max()) / scale
    # Matrix products of other shapes sum in another order: 1e-4 is generous for float32.
    return f"they differ by {worst:.1e} of the largest number" if worst > 1e-4 else None
