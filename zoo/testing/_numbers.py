"""Promises about single embeddings: shape, finite numbers, the same again, different images."""

import numpy as np
import torch
from numpy.typing import NDArray

from ._compare import same
from ._promise import BrokenPromiseError, NotCheckedError, promise
from ._subject import Subject

CALLS = 40


@promise("shape", "the embedding is float32, one row for each image")
def shape(subject: Subject) -> None:
    """Encode one to three images of the smallest number of channels, and one of more."""
    wanted = subject.spec.embedding_size
    sizes = set()
    trials = [(number, subject.low) for number in (3, 1)]
    trials += [(1, c) for c in subject.counts[1:2]]
    for number, count in trials:
        try:
            e = subject.encode(subject.images(count, number)).embedding
        except Exception:
            if count == subject.low:
                raise
            continue  # told by the check of the range
        if e.ndim != 2 or e.shape[0] != number or e.dtype != torch.float32:
            raise BrokenPromiseError(f"it is {tuple(e.shape)} {e.dtype} for {number} images")
        if wanted is not None and e.shape[1] != wanted:
            raise BrokenPromiseError(f"it has {e.shape[1]} columns, the record says {wanted}")
        if count == subject.low:
            sizes.add(e.shape[1])
    if len(sizes) > 1:
        raise BrokenPromiseError(f"it has {sorted(sizes)} columns in different calls")


@promise("finite", "the embedding holds finite numbers", needs=("shape",))
def finite(subject: Subject) -> None:
    """Encode noise."""
    if not bool(subject.rows(subject.images(subject.low, 3)).isfinite().all()):
        raise BrokenPromiseError("it holds NaN or infinite numbers")


@promise("repeatable", "the same images give the same numbers, now and later", needs=("finite",))
def repeatable(subject: Subject) -> None:
    """Encode one image many times, raw images twice, and images in another history."""
    (one,) = subject.images(subject.low, 1)
    first = subject.rows([one])
    for call in range(CALLS):
        if not torch.equal(subject.rows([one]), first):
            raise BrokenPromiseError(f"they differ in call {call + 2}")
    raw = subject.raw(subject.low, 2)
    if not torch.equal(subject.rows(raw), subject.rows(raw)):
        raise BrokenPromiseError("they differ after preprocessing")
    if subject.unused is not None:
        others = subject.images(subject.low, 2, seed=3)
        fresh = torch.cat([subject.rows([x], encoder=subject.unused) for x in reversed(others)])
        used = torch.cat([subject.rows([x]) for x in others])
        same(used, fresh.flip(0), 1e-6, "an encoder that has seen other images before")


@promise("images", "different images give different embeddings", needs=("repeatable",))
def images(subject: Subject) -> None:
    """Encode different noise, and the same noise darker."""
    if not subject.tells_apart:
        raise NotCheckedError("a degenerate or structural control need not tell images apart")
    found = subject.rows(subject.images(subject.low, 3))
    if bool((found == found[0]).all()):
        what = "zeros" if not bool(found.any()) else "the same numbers"
        raise BrokenPromiseError(f"all images give {what}")


@promise("extremes", "black, flat, saturated, dim and tiny images give finite numbers",
         needs=("repeatable",))  # fmt: skip
def extremes(subject: Subject) -> None:
    """Encode images at the ends of what cameras give."""
    count = subject.low + 1 if subject.low + 1 in subject.counts else subject.low
    small = subject.side is not None
    for kind, image in _extremes(count, subject.raw_side, few=small).items():
        found = subject.rows([image], preprocess=True)
        if not bool(found.isfinite().all()):
            raise BrokenPromiseError(f"{kind} images give NaN or infinite numbers")
    if subject.side is None:
        return
    for kind, image in _extremes(count, subject.side, few=False).items():
        if not bool(subject.rows([image.astype(np.float32) / 255]).isfinite().all()):
            raise BrokenPromiseError(f"{kind} images give NaN or infinite numbers")
    if subject.spec.preprocessing.resize is not None:
        least = subject.spec.preprocessing.min_side
        tiny = _noise((count, least, least))
        if not bool(subject.rows([tiny], preprocess=True).isfinite().all()):
            raise BrokenPromiseError(f"images of {least} pixels give NaN or infinite numbers")


def _extremes(count: int, side: int, *, few: bool) -> dict[str, NDArray[np.uint8]]:
    noise = _noise((count, side, side + 16 * (side >= 64)))
    shape = noise.shape
    found = {
        "black": np.zeros(shape, np.uint8),
        "saturated": np.full(shape, 255, np.uint8),
        "dim": (noise // 12).astype(np.uint8),
    }
    if few:
        return found
    found |= {
        "flat grey": np.full(shape, 100, np.uint8),
        "very dim": (noise // 120).astype(np.uint8),
        "bright": (255 - noise // 12).astype(np.uint8),
        "mostly black": np.where(noise > 250, noise, 0).astype(np.uint8),
    }
    spot = np.zeros(shape, np.uint8)
    spot[:, side // 2, side // 2] = 255
    found["nearly black"] = spot
    for kind, value in (("black", 0), ("flat", 90), ("saturated", 255)):
        for place in {0, count - 1} if count > 1 else ():
            one = noise.copy()
            one[place] = value
            found[f"{kind} in channel {place}"] = one
    return found


def _noise(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
