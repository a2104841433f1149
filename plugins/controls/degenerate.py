"""Degenerate embeddings: constant or random vectors, seeded by a hash of the image."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo import plugin

from .per_image import Array, PerImage


def content_noise(image: NDArray[np.float32], seed: int, size: int) -> NDArray[np.float64]:
    """Draw `size` standard normals by the content of an image.

    The generator is seeded by a hash of `seed` and of the shape and float32 pixels of the prepared
    `(C, H, W)` image, so that the result does not depend on the batch or its order.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((seed, image.shape)).encode())
    digest.update(image.astype("<f4").tobytes())
    return np.random.default_rng(int.from_bytes(digest.digest(), "big")).standard_normal(size)


class NoiseEncoder(PerImage):
    """An offset plus noise: a collapsed embedding for small noise, pure noise for offset 0."""

    def __init__(self, spec: plugin.EncoderSpec, *, draw: int) -> None:
        super().__init__(spec)
        self.draw = draw
        self.offset = float(spec.options["offset"])
        self.sd = float(spec.options["sd"])

    def describe(self, image: plugin.Image) -> tuple[Array, None]:
        """Draw the row of an image."""
        noise = content_noise(image.pixels, self.draw, self.spec.embedding_size or 0)
        return self.offset + self.sd * noise, None


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> NoiseEncoder:
    """Build from the record's options; `seed` chooses another draw for every image."""
    return NoiseEncoder(spec, draw=seed)
