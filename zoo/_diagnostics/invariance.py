"""How far embeddings move when images change as they should not matter, or lose a channel."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from zoo.registry import ZooError

from .._encoders.contract import Encoder
from .._evaluation.findings import Finding
from .._evaluation.verdict import interval, pick_groups
from .._images.read import Image
from ..metrics._geometry import RESOLUTION, unit_rows

Array = NDArray[Any]
Rng = np.random.Generator
Change = Callable[[Image, Rng], Image | None]
BLUR = 1.5  # pixels
NOISE = 0.02  # of a plane's range
# 1 − cosine of directions that differ by the rounding of float32.
UNRESOLVED = RESOLUTION**2 / 2


def invariance(
    encoder: Encoder,
    images: Sequence[Image],
    *,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Measure the drift of an embedding under nuisances and under changes of channels.

    Drift is 1 − cos(f(x), f(Tx)), divided by the median of 1 − cosine over pairs of different
    images: 0 is blind to the change, 1 moves as far as to another image. f includes the encoder's
    own preprocessing, which may undo a change (a gain, say) before a network sees it. The interval
    is a bootstrap over images, with the median between images taken as it is.

    Parameters
    ----------
    encoder
        Any; its name becomes the contender.
    images
        Two or more, different ones; 16 to 32 will do. Masks move along with pixels.
    seed
        Of noise and bootstrap.
    progress
        Called with the number of images embedded, after each batch.

    Returns
    -------
    findings
        Quantity ``"drift"``, one for each change: the median over the images that it applies to.
    refused
        What could not be compared, and why, one sentence each.

    Raises
    ------
    ImageError
        When the encoder refuses an image as it is.
    ValueError
        For fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(f"drift needs two images or more to compare with, not {len(images)}")

    def embed(chosen: Sequence[Image]) -> Array:
        features = encoder.encode(
            [image.pixels for image in chosen],
            stains=[image.stains for image in chosen],
            masks=[image.mask for image in chosen],
            types=[image.types for image in chosen],
            progress=progress,
        )
        return features.embedding.cpu().numpy().astype(np.float64)

    intact = embed(images)
    if not np.isfinite(intact).all():
        return (), ("NaN or infinite numbers come out: no drift can be measured.",)
    unit = _between(intact)
    if unit <= UNRESOLVED:
        return (), ("different images are embedded alike: drift has no unit.",)

    findings: list[Finding] = []
    refused: list[str] = []
    changes = [*NUISANCES.items(), *_channel_changes(encoder, images, refused)]
    for condition, change in changes:
        rngs = (np.random.default_rng([seed, i]) for i in range(len(images)))
        changed = [change(image, rng) for image, rng in zip(images, rngs, strict=True)]
        places = [i for i, image in enumerate(changed) if image is not None]
        try:
            moved = embed([image for image in changed if image is not None])
        except ZooError as error:
            refused.append(f"{condition}: {error}.")
            continue
        if moved.shape[1] != intact.shape[1]:
            refused.append(
                f"{condition}: {moved.shape[1]} numbers come out instead of {intact.shape[1]}, "
                "which cannot be compared."
            )
            continue
        if not np.isfinite(moved).all():
            refused.append(f"{condition}: NaN or infinite numbers come out.")
            continue
        drift = _apart(intact[places], moved) / unit
        found = _finding(encoder, condition, drift, seed)
        note = "" if len(places) == len(images) else f"applies to {len(places)} of {len(images)}"
        findings.append(replace(found, note=note))
    return tuple(findings), tuple(refused)


def limits(pixels: Array) -> tuple[float, float]:
    """Range that changed pixels must keep to: that of the type, and of the image's convention.

    An image without negative pixels gets none, and floats in [0, 1] stay there.
    """
    if pixels.dtype.kind != "f":
        info = np.iinfo(pixels.dtype)
        top = float(info.max)
        # The largest 64-bit integers have no float, and the next one is too large.
        high = top if int(top) <= info.max else float(np.nextafter(top, 0))
        return 0.0 if pixels.min() >= 0 else float(info.min), high
    largest = float(np.finfo(pixels.dtype).max)
    if pixels.min() < 0:
        return -largest, largest
    return 0.0, 1.0 if pixels.max() <= 1 else largest


def fitted(values: Array, like: Array) -> Array:
    """Clip and round values to the type and `limits` of an image, never wrapping around."""
    kept = np.clip(values, *limits(like))
    return (kept if like.dtype.kind == "f" else np.rint(kept)).astype(like.dtype)


def channel_names(image: Image) -> tuple[str, ...]:
    """Stain of each channel, or its place from 1; a stain that comes again has its place added."""
    names = image.stains or [str(k + 1) for k in range(len(image.pixels))]
    return tuple(
        f"{name} ({k + 1})" if name in names[:k] else str(name) for k, name in enumerate(names)
    )


def blackened(image: Image, channel: int) -> Image:
    """Set all pixels of a channel to 0."""
    pixels = image.pixels.copy()
    pixels[channel] = 0
    return replace(image, pixels=pixels)


def _moving(move: Callable[[Array], Array]) -> Change:
    """Move pixels and mask alike, by a function of the last two axes."""

    def change(image: Image, _: Rng) -> Image:
        mask = None if image.mask is None else np.ascontiguousarray(move(image.mask))
        return replace(image, pixels=np.ascontiguousarray(move(image.pixels)), mask=mask)

    return change


def _recolouring(recolour: Callable[[Array, Rng], Array]) -> Change:
    """Change pixels where they are, by a function of floats."""

    def change(image: Image, rng: Rng) -> Image:
        values = recolour(image.pixels.astype(np.float64), rng)
        return replace(image, pixels=fitted(values, image.pixels))

    return change


def _shift(planes: Array) -> Array:
    """Move down and right by a tenth of each side; the edge is a mirror."""
    height, width = planes.shape[-2:]
    down, right = (max(1, round(side / 10)) for side in (height, width))
    pad = [(0, 0)] * (planes.ndim - 2) + [(down, 0), (right, 0)]
    return np.pad(planes, pad, mode="reflect")[..., :height, :width]


def _gamma(planes: Array, _: Rng) -> Array:
    """Bend each plane between its own extremes, which stay."""
    low = planes.min((1, 2), keepdims=True)
    span = np.ptp(planes, (1, 2), keepdims=True)
    return low + span * ((planes - low) / np.where(span > 0, span, 1.0)) ** 0.7


def _noisy(planes: Array, rng: Rng) -> Array:
    return planes + NOISE * np.ptp(planes, (1, 2), keepdims=True) * rng.normal(size=planes.shape)


NUISANCES: dict[str, Change] = {
    "rotated by 90°": _moving(lambda planes: np.rot90(planes, axes=(-2, -1))),
    "flipped": _moving(lambda planes: planes[..., ::-1]),
    "shifted by a tenth": _moving(_shift),
    "gain 0.7": _recolouring(lambda planes, _: 0.7 * planes),
    "gain 1.4": _recolouring(lambda planes, _: 1.4 * planes),
    "gamma 0.7": _recolouring(_gamma),
    "blurred (sd 1.5 px)": _recolouring(lambda x, _: gaussian_filter(x, (0, BLUR, BLUR))),
    "noise (sd 2 % of the range)": _recolouring(_noisy),
}
"""Changes that should not matter, by what tables call them."""


def _channel_changes(
    encoder: Encoder, images: Sequence[Image], refused: list[str]
) -> Iterator[tuple[str, Change]]:
    """Yield what can be done to channels; channels go by stain where these are known."""
    several = [image for image in images if len(image.pixels) > 1]
    if (single := len(images) - len(several)) > 0:
        refused.append(
            f"{single} of {len(images)} images have one channel only: there is nothing to permute, "
            "drop or blacken."
        )
    if not several:
        return
    yield "channels permuted", lambda image, _: _reordered(image)
    if any(image.stains for image in several):
        yield "channels permuted, names kept", lambda image, _: _renamed(image)
    if encoder.equal_channels:
        refused.append(
            "Channels dropped or duplicated: channels are joined, so that embeddings of another "
            "number of them cannot be compared."
        )
    else:
        yield "first channel duplicated", lambda image, _: _duplicated(image)
    for name in dict.fromkeys(name for image in several for name in channel_names(image)):
        if not encoder.equal_channels:
            yield f"channel {name} dropped", _to_channel(name, _dropped)
        yield f"channel {name} black", _to_channel(name, blackened)


def _reordered(image: Image) -> Image | None:
    """Move every channel to the next place, with its name; the last becomes the first."""
    if len(image.pixels) < 2:
        return None
    stains = image.stains and (image.stains[-1], *image.stains[:-1])
    return replace(image, pixels=np.roll(image.pixels, 1, axis=0), stains=stains)


def _renamed(image: Image) -> Image | None:
    """Move every channel to the next place and leave the names where they are."""
    moved = _reordered(image)
    if moved is None or image.stains is None:
        return None
    return replace(moved, stains=image.stains)


def _duplicated(image: Image) -> Image | None:
    if len(image.pixels) < 2:
        return None
    stains = image.stains and (*image.stains, image.stains[0])
    pixels = np.concatenate([image.pixels, image.pixels[:1]])
    return replace(image, pixels=pixels, stains=stains)


def _dropped(image: Image, channel: int) -> Image:
    stains = image.stains and image.stains[:channel] + image.stains[channel + 1 :]
    return replace(image, pixels=np.delete(image.pixels, channel, axis=0), stains=stains)


def _to_channel(name: str, change: Callable[[Image, int], Image]) -> Change:
    def to_named(image: Image, _: Rng) -> Image | None:
        names = channel_names(image)
        return change(image, names.index(name)) if name in names and len(names) > 1 else None

    return to_named


def _between(rows: Array) -> float:
    """Median of 1 − cosine over all pairs."""
    return float(np.median(np.concatenate([_apart(r, rows[i + 1 :]) for i, r in enumerate(rows)])))


def _apart(a: Array, b: Array) -> Array:
    """1 − cosine of rows, exact where they hardly differ; a right angle where only one is zero."""
    a, b = np.broadcast_arrays(a, b)
    distance: Array = ((unit_rows(a) - unit_rows(b)) ** 2).sum(1) / 2
    return np.where(a.any(1) != b.any(1), 1.0, distance)


def _finding(encoder: Encoder, condition: str, drift: Array, seed: int) -> Finding:
    value = float(np.median(drift))
    draws = np.median(drift[pick_groups(len(drift), seed=seed)], axis=1)
    low, high = interval(value, draws, len(drift))
    return Finding(
        contender=encoder.name,
        quantity="drift",
        condition=condition,
        value=value,
        low=float(np.maximum(low, 0.0)),  # the interval is stretched, but no drift is negative
        high=high,
        reference=1.0,
        beside="different images",
        n_items=len(drift),
    )
