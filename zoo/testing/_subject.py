"""An encoder under test: the images it is given, and how it can be made again."""

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import EncoderSpec, PluginError, fetch, resolve_target

from .._encoders.build import build
from .._encoders.contract import Encoder
from .._encoders.features import Features
from .._encoders.loading import load

Pixels = NDArray[Any]
# Sides of prepared planes to try, so that networks for large images are checked on small ones.
_SIDES = (32, 28, 64, 56, 112)
_FEW = 8


class Subject:
    """An encoder, what it is checked with, and how it can be made again.

    Parameters
    ----------
    encoder
        A name, a record, or a loaded encoder.
    channels
        Channel counts to try; by default all that the record allows, or some of very many.
    stains
        Names of the channels that images are given with, for encoders that need them.
    """

    def __init__(
        self,
        encoder: str | EncoderSpec | Encoder,
        *,
        channels: tuple[int, ...] | None = None,
        stains: tuple[str, ...] | None = None,
    ) -> None:
        self.name = encoder if isinstance(encoder, str) else ""
        self._remake: Callable[[int], Encoder] | None = None
        if isinstance(encoder, str):
            self.encoder = load(encoder, dtype="float32")
            self._remake = _maker(self.encoder)
        elif isinstance(encoder, EncoderSpec):
            file = fetch(encoder.weights).path if encoder.weights is not None else None
            further = [fetch(one).path for one in encoder.files]
            self._remake = lambda seed: build(encoder, weights=file, files=further, seed=seed)
            self.encoder = self._remake(0)
        else:
            self.encoder = encoder
            self._remake = _maker(encoder)
        self.spec = self.encoder.spec
        self._given = channels
        self.stains = stains
        self.unused = _copied(self.encoder)

    @property
    def remake(self) -> Callable[[int], Encoder] | None:
        """Make the encoder again with a seed; None if its record cannot."""
        return self._remake

    @property
    def low(self) -> int:
        """The smallest number of channels that is tried."""
        return self.counts[0]

    @cached_property
    def counts(self) -> list[int]:
        """Channel counts to try: the ends of the declared range, and many between them."""
        if self._given is not None:
            return list(self._given)
        low, high = self.spec.channels
        last = low + 32 if high is None else high
        steps = {low + k for k in range(_FEW)} | {low + k for k in (10, 11, 15, 19)} | {last}
        counts = sorted(c for c in steps | {last - 1, (low + last) // 2} if low <= c <= last)
        if self.stains is not None:
            counts = [c for c in counts if c <= len(self.stains)] or [low]
        return counts

    def usual(self, most: int = 4) -> list[int]:
        """Return a few channel counts: the smallest, and others up to twelve."""
        return [c for c in self.counts if c <= max(self.low, 12)][:most]

    @cached_property
    def side(self) -> int | None:
        """Side of small prepared planes that the encoder takes; None for raw images only."""
        crop = self.spec.preprocessing.crop
        sides = [s for s in _SIDES if crop is None or s < crop] + ([crop] if crop else [])
        for side in sides:
            try:
                planes = _noise(self.low, side, side, seed=1)
                found = self._encode([planes], preprocess=False)
            except Exception:
                continue
            if isinstance(found.embedding, Tensor):
                return side
        return None

    def images(self, count: int, number: int, seed: int = 0) -> list[Pixels]:
        """Return noise images of `count` channels: prepared planes, or raw where it must be."""
        if self.side is None:
            return self.raw(count, number, seed)
        return [_noise(count, self.side, self.side, 1000 * seed + i) for i in range(number)]

    def raw(self, count: int, number: int, seed: int = 0) -> list[NDArray[np.uint8]]:
        """Return raw 8-bit noise images of `count` channels, a little wider than high."""
        side = self.raw_side
        return [
            np.random.default_rng((7, seed, i)).integers(
                0, 256, (count, side, side + 16), dtype=np.uint8
            )
            for i in range(number)
        ]

    @property
    def raw_side(self) -> int:
        """Height of raw images."""
        how = self.spec.preprocessing
        return max(64, how.min_side, how.crop or 0 if how.resize is None else 0)

    def encode(
        self, images: list[Any], *, encoder: Encoder | None = None, **asked: Any
    ) -> Features:
        """Encode copies of images of any kind, and undo what the encoder does to global state."""
        first = images[0]
        floating = not isinstance(first, Tensor) and first.dtype.kind == "f"
        if self.side is not None and floating:
            asked.setdefault("preprocess", False)
        return self._encode(images, encoder=encoder, **asked)

    def rows(self, images: list[Any], *, encoder: Encoder | None = None, **asked: Any) -> Tensor:
        """Encode, and return the embedding on the CPU."""
        return self.encode(images, encoder=encoder, **asked).embedding.cpu()

    def _encode(
        self, images: list[Any], *, encoder: Encoder | None = None, **asked: Any
    ) -> Features:
        given = [copy.deepcopy(image) for image in images]
        with _settings_kept():
            return (encoder or self.encoder).encode(given, **self.beside(images), **asked)

    def beside(self, images: list[Any]) -> dict[str, Any]:
        """Return what is given beside images: stains and objects, where they are needed."""
        asked: dict[str, Any] = {}
        if self.stains is not None:
            asked["stains"] = [self.stains[: len(image)] for image in images]
        if self.encoder.requires_object_types:
            asked["masks"] = [objects_in(image) for image in images]
            asked["types"] = [np.arange(16) % 2] * len(images)
        return asked

    @property
    def tells_apart(self) -> bool:
        """Whether different noise must give different embeddings."""
        return self.spec.control not in ("degenerate", "structural")


def objects_in(image: Any) -> NDArray[np.int64]:
    """Label up to 16 blocks, those whose first pixel is not dark: none in a black image."""
    pixels = np.asarray(image[0], dtype=np.float64)
    height, width = pixels.shape[0] // 4, pixels.shape[1] // 4
    mask: NDArray[np.int64] = np.zeros(pixels.shape, dtype=np.int64)
    for k in range(16):
        top, left = k // 4 * height, k % 4 * width
        if pixels[top, left] > pixels.max() / 3:
            mask[top : top + height - 2, left : left + width - 2] = k + 1
    return mask


def _noise(count: int, height: int, width: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((count, height, width), dtype=np.float32)


def _copied(encoder: Encoder) -> Encoder | None:
    """Copy an encoder before it is used; None if it cannot be copied."""
    try:
        return copy.deepcopy(encoder)
    except Exception:
        return None


def _maker(encoder: Encoder) -> Callable[[int], Encoder] | None:
    """Return the record's builder, if it makes encoders like the one given."""
    spec = encoder.spec
    if encoder.from_registry:
        dtype = encoder.dtype
        return lambda seed: load(spec.name, dtype=dtype, seed=seed if spec.seeded else None)
    if spec.all_files:
        return None
    try:
        resolve_target(spec.builder)
        made = build(spec)
    except (PluginError, TypeError, ValueError, AttributeError):
        return None  # the record of an encoder made by hand may name anything
    return (lambda seed: build(spec, seed=seed)) if type(made) is type(encoder) else None


@contextmanager
def generators_at(seed: int) -> Iterator[None]:
    """Set the global random generators to a seed, and back afterwards."""
    kept = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.random.set_rng_state(kept[2])


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: images are small, and threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Undo changes of torch's settings, so that a fault of one check is not seen in another."""
    kind, threads = torch.get_default_dtype(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_default_dtype(kind)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
