"""Promises about inputs: types of pixels, sizes, preprocessing, and leaving them as they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from zoo.registry import ImageError

from .._images.batch import ImageBatch
from .._images.preprocess import prepare
from ._compare import OTHER_SHAPES, same
from ._promise import BrokenPromiseError, NotCheckedError, promise
from ._subject import Subject


@promise("pixels", "8- and 16-bit, integer and floating images are taken", needs=("repeatable",))
def pixel_types(subject: Subject) -> None:
    """Encode raw images of each type, as arrays and as tensors."""
    (image,) = subject.raw(subject.low, 1)
    unit = image / 255
    given: list[Any] = [
        image,
        (unit * 4000).astype(np.uint16),
        (unit * 4000).astype(np.int32),
        unit.astype(np.float32),
        unit,
        torch.from_numpy(image),
        torch.from_numpy(unit.astype(np.float32)),
    ]
    for one in given:
        try:
            found = subject.rows([one], preprocess=True)
        except Exception as error:
            raise BrokenPromiseError(
                f"{type(one).__name__} of {one.dtype} raises {type(error).__name__}: {error}"
            ) from error
        if not bool(found.isfinite().all()):
            raise BrokenPromiseError(f"{one.dtype} images give NaN or infinite numbers")
    same(subject.rows([given[5]]), subject.rows([image]), OTHER_SHAPES, "a tensor and an array")


@promise("sizes", "images of any size are taken, with as many columns", needs=("repeatable",))
def sizes(subject: Subject) -> None:
    """Encode raw images of several sizes, and larger prepared ones where they are taken."""
    count, side = subject.low, subject.raw_side
    (image,) = subject.raw(count, 1)
    wide = subject.rows([image], preprocess=True).shape[1]
    rng = np.random.default_rng(4)
    for size in ((side, side), (side + 33, side), (side, 2 * side + 7), (2 * side, 2 * side)):
        other = rng.integers(0, 256, (count, *size), dtype=np.uint8)
        try:
            found = subject.rows([other], preprocess=True)
        except ImageError:
            if subject.spec.preprocessing.crop is not None:
                raise
            continue  # without a crop an encoder may need multiples of its patches
        _check_columns(found, wide, size)
    if subject.side is None:
        return
    for factor in (2, 4):
        size = (factor * subject.side,) * 2
        planes = rng.random((count, *size), dtype=np.float32)
        try:
            found = subject.rows([planes])
        except Exception:
            continue  # an encoder may be made for one size
        _check_columns(found, wide, size)


def _check_columns(found: torch.Tensor, wide: int, size: tuple[int, int]) -> None:
    if found.shape != (1, wide):
        raise BrokenPromiseError(
            f"{size[0]} × {size[1]} pixels give the shape {tuple(found.shape)} and not (1, {wide})"
        )


@promise("preprocessing", "the declared preprocessing is what is applied", needs=("precision",))
def preprocessing(subject: Subject) -> None:
    """Prepare images by the record, and encode them without preprocessing."""
    encoder = subject.encoder
    images = subject.raw(subject.low, 2)
    ready = [encoder.prepare(image, "image") for image in images]
    asked = subject.beside(images)
    if "masks" in asked:
        raise NotCheckedError("it needs masks, which are prepared with images")
    found = subject.encoder.encode(ready, preprocess=False, **asked).embedding.cpu()
    same(found, subject.rows(images), OTHER_SHAPES, "prepared before")
    declared = [prepare(image, subject.spec.preprocessing, "image") for image in images]
    pairs = zip(declared, ready, strict=True)
    other = any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)
    if other and "prepare" not in encoder.provenance():
        raise BrokenPromiseError(
            "prepare gives other pixels than the record's preprocessing, and the provenance does "
            "not say so"
        )


@promise("inputs", "images that are given stay as they are", needs=("pixels",))
def untouched(subject: Subject) -> None:
    """Encode arrays, tensors and packed batches, and compare them with copies."""
    encoder, count = subject.encoder, subject.low
    raw = subject.raw(count, 2)
    small = subject.images(count, 2)
    plain = subject.side is not None
    _compare(raw, lambda given: encoder.encode(given, **subject.beside(raw)))
    floats = [(image / 255).astype(np.float32) for image in raw]
    _compare(floats, lambda given: encoder.encode(given, **subject.beside(raw)))
    if not plain:
        return
    tensors = [torch.from_numpy(image) for image in small]
    for kind in (small, tensors):
        _compare(
            kind, lambda given: encoder.encode(given, preprocess=False, **subject.beside(small))
        )
    if encoder.requires_object_types or subject.stains is not None:
        return
    counts = torch.tensor([count, count])
    _compare(
        [torch.cat(tensors)],
        lambda given: encoder.encode(ImageBatch(given[0], counts), preprocess=False),
    )


def _compare(images: list[Any], encode: Callable[[list[Any]], object]) -> None:
    given = [image.copy() if isinstance(image, np.ndarray) else image.clone() for image in images]
    encode(given)
    for before, after in zip(images, given, strict=True):
        if not np.array_equal(np.asarray(before), np.asarray(after)):
            raise BrokenPromiseError(
                f"encode changes the {type(after).__name__} of {after.dtype} that it is given"
            )
