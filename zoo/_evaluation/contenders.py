"""Embed a dataset with the encoder under test and with its controls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from zoo.registry import (
    EncoderSpec,
    EvaluationError,
    ImageError,
    UnknownNameError,
    WeightsError,
    registry,
    suggest,
)

from .._data.dataset import Dataset
from .._embedding.cache import EmbeddingCache
from .._embedding.embed import UnequalChannelsError, embed_many
from .._embedding.embeddings import Embeddings
from .._encoders.contract import Encoder
from .._encoders.loading import load
from .._encoders.progress import Progress
from .._images.image import Image, is_colour
from .precomputed import PREFIX, matched, name_of, noise_by_index, precomputed, record_of

CONTROLS = (
    "constant",
    "gaussian",
    "pixel-statistics",
    "object-density",
    "cell-structure",
    # As strong as ResNet-18 without training, in three quarters of its time.
    "untrained:resnet10t/concat",
)
# Draws of the untrained twin: each takes as long as the encoder itself.
TWIN_SEEDS, TWIN_SEEDS_FULL = 1, 5
NOISE_SEEDS = 5
# Added by the full suite, besides ablations of the encoder under test.
MORE_CONTROLS = (
    "texture",
    "untrained:vit_tiny_patch16_224/concat",
    "timm:vit_small_patch14_dinov2.lvd142m/concat",
)
# Images that differ in their number of channels have no concatenation of channels.
_RAGGED = {"pixel-statistics": "pixel-statistics-mean", "texture": "texture-mean"}
ONLY_NOISE = "not available; beating noise shows a signal, but not that it is biological"
NOISE = {"degenerate"}
Subject = str | Encoder | Embeddings


@dataclass(frozen=True)
class Contender:
    """An encoder or control with its embeddings, one for each seed.

    Parameters
    ----------
    spec
        Its record.
    embeddings
        One for each seed.
    encoders
        The encoders, in the same order; empty for embeddings made elsewhere.
    """

    spec: EncoderSpec
    embeddings: tuple[Embeddings, ...]
    encoders: tuple[Encoder, ...] = ()


def default_controls(
    first: Image | None, *, full: bool, ragged: bool, colour: bool = False
) -> tuple[str, ...]:
    """Names of the default controls, which need only the images of a dataset.

    Parameters
    ----------
    first
        The first image, which shows whether there are object types.
    full
        Whether further ones are wanted.
    ragged
        Whether images differ in their number of channels.
    colour
        Whether all are red, green and blue, which networks then see together.
    """
    names = CONTROLS + MORE_CONTROLS * full
    if full and first is not None and first.types is not None:
        names += ("cell-structure-typed",)
    if ragged:
        return tuple(_RAGGED.get(n, n.replace("/concat", "/mean")) for n in names)
    if colour:
        return tuple(n.replace("/concat", "/rgb") for n in names)
    return names


def embed_contenders(
    subject: Subject,
    dataset: Dataset,
    *,
    controls: Sequence[str] | None = None,
    full: bool = False,
    seeds: int | None = None,
    cache: EmbeddingCache | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Embed a dataset with an encoder and its controls.

    `seeds` are those of the twin and of noise, by default `TWIN_SEEDS` or, for the full suite,
    `TWIN_SEEDS_FULL`, and `NOISE_SEEDS`.

    Returns
    -------
    contenders
        By name, the encoder under test first.
    skipped
        Default controls that are not available, with the reason. Controls requested by name raise
        instead.
    """
    if isinstance(subject, str):
        subject = _open(subject, dataset)
    if isinstance(subject, Embeddings):
        subject = matched(subject, dataset)
    if dataset.read is None:
        given = _without_images(subject, dataset, controls, seeds)
        kinds = {c.spec.control for c in list(given.values())[1:]}
        return given, ({"every control that sees images": ONLY_NOISE} if kinds == NOISE else {})

    first = dataset[0]
    low, high = dataset.channels or (len(first.pixels),) * 2
    colour = low == high and first.stains is not None and is_colour(first.stains)
    embed = partial(
        _embed_images,
        subject,
        dataset,
        controls,
        first,
        full=full,
        seeds=seeds,
        cache=cache,
        progress=progress,
    )
    try:
        return embed(ragged=low < high, several=high > 1, colour=colour)
    except (UnequalChannelsError, ImageError) as error:
        unequal = isinstance(error, UnequalChannelsError) or colour
        if low < high or controls is not None or not unequal:
            raise
        # A later image has other channels than the first: use controls that average channels.
        return embed(ragged=True, several=True, colour=False)


def _embed_images(
    subject: Encoder | Embeddings,
    dataset: Dataset,
    controls: Sequence[str] | None,
    first: Image,
    *,
    ragged: bool,
    several: bool,
    colour: bool,
    full: bool,
    seeds: int | None,
    cache: EmbeddingCache | None,
    progress: Progress | None,
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Embed images with an encoder and, after the same preprocessing, with its controls."""
    prepared = subject.spec.preprocessing if isinstance(subject, Encoder) else None
    device = subject.device if isinstance(subject, Encoder) else None
    mapped = subject if isinstance(subject, Encoder) and subject.channel_map else None
    usual = default_controls(first, full=full, ragged=ragged, colour=colour)
    names = controls if controls is not None else usual
    skipped: dict[str, str] = {}
    members: dict[str, list[Encoder]] = {}
    if isinstance(subject, Encoder):
        members[subject.name] = [subject]

    def add(name: str, draws: Sequence[int | None], weights: Path | None = None) -> None:
        if name in members or name == name_of(subject):
            return
        try:
            dtype = _dtype_beside(subject, name)
            members[name] = [
                load(
                    name,
                    device=device,
                    dtype=dtype,
                    seed=s,
                    preprocessing=prepared,
                    weights=weights,
                )
                for s in draws
            ]
            for encoder in members[name]:
                if mapped is not None and encoder.spec.slots == mapped.spec.slots:
                    encoder.with_channel_map(mapped.channel_map)
        except WeightsError as error:
            if controls is not None:
                raise
            skipped[name] = str(error)

    for name in names:
        spec = _record(name, skipped if controls is None else None)
        if spec is not None:
            # A single draw of noise can score anything; the mean of several shows its level.
            add(name, _noise_seeds(seeds) if spec.control == "degenerate" else [None])
    if isinstance(subject, Encoder):
        twin = subject.spec.twin
        draws = (TWIN_SEEDS_FULL if full else TWIN_SEEDS) if seeds is None else seeds
        if twin is not None and draws > 0:
            add(twin, range(draws))
        if full and controls is None:
            _add_ablations(subject, "mean" if ragged else "concat", several, add, skipped)

    flat = [e for encoders in members.values() for e in encoders]
    embedded = embed_many(dataset, flat, cache=cache, progress=progress)
    contenders: dict[str, Contender] = {}
    if isinstance(subject, Embeddings):
        contenders[name_of(subject)] = Contender(record_of(subject), (subject,))
    for name, encoders in members.items():
        parts, embedded = embedded[: len(encoders)], embedded[len(encoders) :]
        contenders[name] = Contender(encoders[0].spec, tuple(parts), tuple(encoders))
    if len(contenders) == 1:
        raise EvaluationError("at least one control is required: controls=[...]")
    return contenders, skipped


def _dtype_beside(subject: Encoder | Embeddings, name: str) -> torch.dtype | str:
    """Return the dtype of a control: that of the subject for its own network, untrained or not."""
    if not isinstance(subject, Encoder):
        return "auto"
    ablations = (f"mask-only:{subject.name}", f"one-channel:{subject.name}/")
    return subject.dtype if name == subject.spec.twin or name.startswith(ablations) else "auto"


def _add_ablations(
    subject: Encoder,
    join: str,
    several: bool,
    add: Callable[[str, Sequence[int | None], Path | None], None],
    skipped: dict[str, str],
) -> None:
    """Add ablations of the encoder: one channel at a time, and segmentation masks only."""
    names = [f"mask-only:{subject.name}"]
    if (
        several
        and not subject.requires_equal_channels
        and subject.name.partition(":")[0] != "one-channel"
    ):
        names.insert(0, f"one-channel:{subject.name}/{join}")
    source = Path(subject.weights_source) if subject.weights_source else None
    weights = source if source is not None and source.is_file() else None
    for name in names:
        if not subject.from_registry:
            skipped[name] = "the encoder under test was not loaded by name"
            continue
        own = subject.spec.role == "control" and subject.spec.control != "untrained"
        if not own:  # hand-crafted features are not ablated
            draws: Sequence[int | None] = [subject.seed] if subject.spec.seeded else [None]
            add(name, draws, weights)


def _noise_seeds(seeds: int | None) -> range:
    return range(NOISE_SEEDS if seeds is None else max(seeds, 1))


def _record(name: str, skipped: dict[str, str] | None) -> EncoderSpec | None:
    """Return the record of a control, or note why a default one is not available."""
    try:
        return registry().encoder(name)
    except WeightsError as error:
        if skipped is None:
            raise
        skipped[name] = str(error)
        return None


def _open(name: str, dataset: Dataset) -> Encoder | Embeddings:
    """Load an encoder, or read embeddings that come with the dataset."""
    if not name.startswith(PREFIX):
        return load(name)
    wanted = name.removeprefix(PREFIX)
    if wanted not in dataset.profiles:
        known = list(dataset.profiles)
        has = f"has {', '.join(known)}" if known else "has none"
        raise UnknownNameError(
            f"{dataset.name} has no embeddings called {wanted!r}; it {has}.{suggest(wanted, known)}"
        )
    return precomputed(wanted, dataset)


def _without_images(
    subject: Encoder | Embeddings,
    dataset: Dataset,
    controls: Sequence[str] | None,
    seeds: int | None,
) -> dict[str, Contender]:
    """Gather contenders for a dataset without images: noise and precomputed controls."""
    if isinstance(subject, Encoder):
        raise EvaluationError(
            f"{dataset.name} has no images for {subject.name} to embed: evaluate "
            + " or ".join(f"{PREFIX}{p}" for p in dataset.profiles)
        )
    known = {f"{PREFIX}{name}": p for name, p in dataset.profiles.items()}
    own = name_of(subject)
    contenders = {own: Contender(record_of(subject, known.get(own)), (subject,))}
    defaults = ("constant", "gaussian", *(n for n, p in known.items() if p.role == "control"))
    for name in controls if controls is not None else defaults:
        if name == own:
            continue
        if name in known:
            found = precomputed(name.removeprefix(PREFIX), dataset)
            contenders[name] = Contender(record_of(found, known[name]), (found,))
        elif name in ("constant", "gaussian"):
            record = registry().encoder(name)
            noise = tuple(noise_by_index(record, dataset, s) for s in _noise_seeds(seeds))
            contenders[name] = Contender(record, noise)
        else:
            raise EvaluationError(
                f"{dataset.name} has no images, so {name} cannot be a control: choose from "
                + ", ".join(defaults)
            )
    if len(contenders) == 1:
        raise EvaluationError("at least one control is required: controls=[...]")
    return contenders
