"""How far embeddings move when images change as they should not matter, or lose a channel."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import ZooError

from .._encoders.contract import Encoder
from .._evaluation.bootstrap import interval, pick_groups
from .._evaluation.findings import Diagnostic, Finding
from .._images.image import Image, channel_names
from .._images.perturb import (
    NUISANCES,
    Change,
    blackened,
    dropped,
    duplicated,
    renamed,
    reordered,
    to_channel,
)
from ..metrics._matrix import RESOLUTION, unit_rows
from .changed_images import NO_IMAGES, few_encoders
from .study import Study

Array = NDArray[Any]
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
    yield "channels permuted", lambda image, _: reordered(image)
    if any(image.stains for image in several):
        yield "channels permuted, names kept", lambda image, _: renamed(image)
    if encoder.requires_equal_channels:
        refused.append(
            "Channels dropped or duplicated: channels are joined, so that embeddings of another "
            "number of them cannot be compared."
        )
    else:
        yield "first channel duplicated", lambda image, _: duplicated(image)
    for name in dict.fromkeys(name for image in several for name in channel_names(image)):
        if not encoder.requires_equal_channels:
            yield f"channel {name} dropped", to_channel(name, dropped)
        yield f"channel {name} black", to_channel(name, blackened)


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
        encoder=encoder.name,
        quantity="drift",
        condition=condition,
        value=value,
        low=float(np.maximum(low, 0.0)),  # the interval is stretched, but no drift is negative
        high=high,
        reference=1.0,
        reference_name="different images",
        n_items=len(drift),
    )


IMAGES = 16  # for drift, spread evenly over the items


def drift(study: Study) -> Diagnostic:
    """How far embeddings move under changes that should not matter, and under lost channels."""
    findings: list[Finding] = []
    refused: list[str] = []
    reading = (
        "1 − cosine between the embedding of an image and of the changed image, divided by the "
        "median over different images: 0 is blind to the change, 1 moves as far as to another "
        "image. The preprocessing of the encoder is part of it."
    )
    title = "Invariance and sensitivity"
    if study.dataset.read is None:
        return Diagnostic(
            name="invariance",
            title=title,
            how_to_read=reading,
            not_computed=(NO_IMAGES,),
            view="drift",
            order=-1,
        )
    places = np.unique(np.linspace(0, len(study.dataset) - 1, IMAGES).astype(int))
    images = [study.dataset[int(i)] for i in places]
    for name, encoder in few_encoders(study, ("pixel-statistics", "untrained:resnet18")):
        try:
            found, cannot = invariance(encoder, images, seed=study.seed)
        except (ZooError, ValueError) as error:
            refused.append(f"{name}: {error}")
            continue
        findings += [replace(f, encoder=name) for f in found]
        refused += [f"{name}: {why}" for why in cannot]
    return Diagnostic(
        name="invariance",
        title=title,
        how_to_read=reading,
        findings=tuple(findings),
        not_computed=tuple(refused),
        view="drift",
        order=-1,
    )
