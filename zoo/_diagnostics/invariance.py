"""Drift of embeddings under nuisance perturbations and changes of channels."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import ZooError

from .._encoders.contract import Encoder
from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.intervals import Estimate, centred, resamples
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
# 1 − cosine of directions that differ by float32 rounding.
UNRESOLVED = RESOLUTION**2 / 2


def invariance(
    encoder: Encoder,
    images: Sequence[Image],
    *,
    seed: int = 0,
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Measure the drift of an embedding under nuisance perturbations and changes of channels.

    Drift is 1 − cos(f(x), f(Tx)), divided by the median of 1 − cosine over pairs of different
    images: 0 is invariant, 1 is as far as another image. f includes the encoder's preprocessing,
    which may undo a change such as a gain. The confidence interval is a bootstrap over images with
    a fixed denominator.

    Parameters
    ----------
    encoder
        Any encoder.
    images
        Two or more different images; 16 to 32 are enough. Masks are transformed with the pixels.
    seed
        Random seed of noise and bootstrap.

    Returns
    -------
    findings
        Quantity ``"drift"``, one for each change: the median over the images it applies to.
    not_computed
        What could not be computed, and why, one sentence each.

    Raises
    ------
    ImageError
        When the encoder rejects an unchanged image.
    ValueError
        For fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(f"drift needs at least two images, not {len(images)}")

    def embed(chosen: Sequence[Image]) -> Array:
        features = encoder.encode(
            [image.pixels for image in chosen],
            stains=[image.stains for image in chosen],
            masks=[image.mask for image in chosen],
            types=[image.types for image in chosen],
        )
        return features.embedding.cpu().numpy().astype(np.float64)

    intact = embed(images)
    if not np.isfinite(intact).all():
        return (), ("The embeddings are NaN or infinite, so no drift can be measured.",)
    unit = _between(intact)
    if unit <= UNRESOLVED:
        return (), ("Different images have the same embedding, so drift has no scale.",)

    findings: list[Finding] = []
    not_computed: list[str] = []
    changes = [*NUISANCES.items(), *_channel_changes(encoder, images, not_computed)]
    for condition, change in changes:
        rngs = (np.random.default_rng([seed, i]) for i in range(len(images)))
        changed = [change(image, rng) for image, rng in zip(images, rngs, strict=True)]
        places = [i for i, image in enumerate(changed) if image is not None]
        try:
            moved = embed([image for image in changed if image is not None])
        except ZooError as error:
            not_computed.append(f"{condition}: {error}.")
            continue
        if moved.shape[1] != intact.shape[1]:
            not_computed.append(
                f"{condition}: the embedding has {moved.shape[1]} dimensions instead of "
                f"{intact.shape[1]} and cannot be compared."
            )
            continue
        if not np.isfinite(moved).all():
            not_computed.append(f"{condition}: the embeddings are NaN or infinite.")
            continue
        drift = _apart(intact[places], moved) / unit
        found = _finding(encoder, condition, drift, seed)
        note = "" if len(places) == len(images) else f"applies to {len(places)} of {len(images)}"
        findings.append(replace(found, note=note))
    return tuple(findings), tuple(not_computed)


def _channel_changes(
    encoder: Encoder, images: Sequence[Image], not_computed: list[str]
) -> Iterator[tuple[str, Change]]:
    """Yield changes of channels; channels are named by stain if known."""
    several = [image for image in images if len(image.pixels) > 1]
    if (single := len(images) - len(several)) > 0:
        not_computed.append(
            f"{single} of {len(images)} images have a single channel, so there is nothing to "
            "permute, drop or set to 0."
        )
    if not several:
        return
    yield "channels permuted", lambda image, _: reordered(image)
    if any(image.stains for image in several):
        yield "channels permuted, names kept", lambda image, _: renamed(image)
    if encoder.requires_equal_channels:
        not_computed.append(
            "Channels dropped or duplicated: the encoder concatenates channels, so embeddings of "
            "another number of channels cannot be compared."
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
    """1 − cosine of rows, accurate for small angles; 1 if only one row is zero."""
    a, b = np.broadcast_arrays(a, b)
    distance: Array = ((unit_rows(a) - unit_rows(b)) ** 2).sum(1) / 2
    return np.where(a.any(1) != b.any(1), 1.0, distance)


def _finding(encoder: Encoder, condition: str, drift: Array, seed: int) -> Finding:
    value = float(np.median(drift))
    n = len(drift)
    draws = np.median([drift[i] for i in resamples(np.arange(n), seed=seed)], axis=1)
    found = Estimate(value, np.sqrt(n / max(n - 1, 1)) * centred(draws), n - 1)
    return Finding(
        encoder=encoder.name,
        quantity="drift",
        condition=condition,
        value=value,
        low=float(np.maximum(found.low, 0.0)),
        high=found.high,
        reference=1.0,
        reference_name="different images",
        n_items=n,
    )


IMAGES = 16  # for drift, spread evenly over the items


def drift(study: Study) -> Diagnostic:
    """Measure drift under nuisance perturbations and channel dropout."""
    findings: list[Finding] = []
    not_computed: list[str] = []
    how_to_read = (
        "Drift: 1 − cosine between the embeddings of an image and of the changed image, divided by "
        "the median over pairs of different images. 0 is invariant, 1 is as far as another image. "
        "The encoder's preprocessing is included."
    )
    title = "Invariance and sensitivity"
    if study.dataset.read is None:
        return Diagnostic(
            name="invariance",
            title=title,
            how_to_read=how_to_read,
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
            not_computed.append(f"{name}: {error}")
            continue
        findings += [replace(f, encoder=name) for f in found]
        not_computed += [f"{name}: {why}" for why in cannot]
    return Diagnostic(
        name="invariance",
        title=title,
        how_to_read=how_to_read,
        findings=tuple(findings),
        not_computed=tuple(not_computed),
        view="drift",
        order=-1,
    )
