"""What happens to embeddings and scores when the images, the layer or the scaling change."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import Preprocessing, ZooError

from .._data.dataset import Dataset
from .._embedding.cache import EmbeddingCache
from .._embedding.embed import embed_many
from .._encoders.contract import Encoder
from .._encoders.loading import load
from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import answer, folds
from .._images.destroy import INPUTS, READINGS, pathological_dataset
from .._images.read import Image
from .invariance import blackened, channel_names, invariance
from .study import Study, scored

Array = NDArray[Any]
IMAGES = 16  # for drift, spread evenly over the items
LAYERS = 6  # at most, spread evenly over the depth
SWEPT = 512  # items at most that are embedded anew for a sweep
NO_IMAGES = "There are no images, only embeddings made elsewhere."
_SCALINGS = {
    "range": Preprocessing(scaling="range"),
    "minimum to maximum": Preprocessing(scaling="percentile", percentiles=(0, 100)),
    "percentiles 0.1–99.9": Preprocessing(scaling="percentile"),
    "instance": Preprocessing(scaling="instance"),
}


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
        return Diagnostic("invariance", title, reading, refused=(NO_IMAGES,))
    places = np.unique(np.linspace(0, len(study.dataset) - 1, IMAGES).astype(int))
    images = [study.dataset[int(i)] for i in places]
    for name, encoder in _few_encoders(study, ("pixel-statistics", "untrained:resnet18")):
        try:
            found, cannot = invariance(encoder, images, seed=study.seed)
        except (ZooError, ValueError) as error:
            refused.append(f"{name}: {error}")
            continue
        findings += [replace(f, contender=name) for f in found]
        refused += [f"{name}: {why}" for why in cannot]
    return Diagnostic("invariance", title, reading, tuple(findings), (), tuple(refused))


def pathological(study: Study) -> Diagnostic:
    """Scores of images from which something essential was taken."""
    title = "Pathological inputs"
    reading = (
        "Scores when every image is destroyed in one respect, training and testing alike. What "
        "keeps its score did not need what was taken away: "
        + "; ".join(f"{what}: {meaning}" for what, meaning in READINGS.items())
        + "."
    )
    if study.dataset.read is None or study.encoder is None:
        return Diagnostic("pathological", title, reading, refused=(NO_IMAGES,))
    findings: list[Finding] = []
    refused: list[str] = []
    encoders = dict(_few_encoders(study, ()))
    originals = {
        (name, k): answer(q, study.contenders[name].embeddings[0].matrix[q.items])[:1]
        for name in encoders
        for k, q in enumerate(study.questions)
    }

    def add(name: str, condition: str, matrix: Array) -> None:
        for k, question in enumerate(study.questions):
            whole = np.arange(len(question.items))
            findings.append(
                scored(
                    question,
                    answer(question, matrix[question.items])[:1],
                    contender=name,
                    condition=condition,
                    seed=study.seed,
                    reference=originals[name, k][0].of(whole),
                    beside="as it is",
                )
            )

    inputs = [*INPUTS, *_one_channel_inputs(study.dataset)]
    for place, condition in enumerate(inputs):
        study.tell("pathological inputs", place, len(inputs))
        spoilt = pathological_dataset(study.dataset, condition, study.seed)
        for name, matrix in _embedded(study, spoilt, encoders, refused):
            add(name, condition, matrix)
    for name, contender in study.contenders.items():
        if name.startswith("mask-only:") and name.removeprefix("mask-only:") in encoders:
            add(name.removeprefix("mask-only:"), "mask only", contender.embeddings[0].matrix)
    return Diagnostic("pathological", title, reading, tuple(findings), (), tuple(refused))


def channels_left_out(study: Study) -> Diagnostic:
    """Scores when a channel is there in training and black in testing."""
    title = "A channel lost"
    reading = (
        "Trained on images as they are and tested on images with one channel black: how far a "
        "score hangs on one stain."
    )
    if study.dataset.read is None or study.encoder is None:
        return Diagnostic("channels", title, reading, refused=(NO_IMAGES,))
    findings: list[Finding] = []
    refused: list[str] = []
    names = _channel_names(study.dataset)
    if len(names) < 2:
        refused.append(
            "There is one channel only."
            if names
            else "Images differ in their channels, so that none can be lost by all."
        )
        names = []
    encoders = dict(_few_encoders(study, ()))
    for channel, label in enumerate(names):
        black = replace(study.dataset, read=_without(study.dataset, channel))
        for name, matrix in _embedded(study, black, encoders, refused):
            intact = study.contenders[name].embeddings[0].matrix
            for question in study.questions:
                if question.task.kind == "retrieval":
                    continue
                n = len(question.items)
                doubled = replace(
                    question,
                    items=np.concatenate([question.items, question.items]),
                    truth=np.concatenate([question.truth, question.truth]),
                    groups=np.concatenate([question.groups, question.groups]),
                )
                splits = [(train, test + n) for train, test in folds(question.groups)]
                rows = np.concatenate([intact[question.items], matrix[question.items]])
                whole = answer(question, intact[question.items])[0]
                findings.append(
                    scored(
                        doubled,
                        answer(doubled, rows, splits=splits)[:1],
                        contender=name,
                        condition=f"{label} black",
                        seed=study.seed,
                        items=np.arange(n, 2 * n),
                        reference=whole.of(np.arange(n)),
                        beside="as it is",
                    )
                )
    return Diagnostic(
        "channels", title, reading, tuple(findings), (), tuple(dict.fromkeys(refused))
    )


def sweep(study: Study) -> Diagnostic:
    """Scores by layer, pooling and scaling of the pixels."""
    title = "Layers, pooling, preprocessing"
    reading = (
        "The same questions with another layer, another pooling, or another scaling of the pixels. "
        "Preprocessing moves scores as much as models do, so controls are swept with it."
    )
    if study.dataset.read is None or study.encoder is None:
        return Diagnostic("sweep", title, reading, refused=(NO_IMAGES,))
    refused: list[str] = []
    dataset, questions = study.dataset, study.questions
    if len(dataset) > SWEPT:
        refused.append(f"Layers are swept for up to {SWEPT} items only; there are {len(dataset)}.")
        by_layer: Iterator[tuple[str, Array]] = iter(())
    else:
        by_layer = _by_layer(study.encoder, dataset, refused)
    findings: list[Finding] = []

    def add(name: str, condition: str, matrix: Array) -> None:
        for question in questions:
            findings.append(
                scored(
                    question,
                    answer(question, matrix[question.items])[:1],
                    contender=name,
                    condition=condition,
                    seed=study.seed,
                )
            )

    for condition, matrix in by_layer:
        add(study.subject, condition, matrix)
    encoders = dict(_few_encoders(study, ("pixel-statistics", "untrained:resnet18")))
    before = study.encoder.spec.preprocessing
    try:
        for what, scaling in _SCALINGS.items():
            changed = {name: _rescaled(study, name, e, scaling) for name, e in encoders.items()}
            for name, matrix in _embedded(study, dataset, changed, refused):
                add(name, f"scaling {what}", matrix)
    finally:
        study.encoder.with_preprocessing(before)
    return Diagnostic("sweep", title, reading, tuple(findings), (), tuple(dict.fromkeys(refused)))


def _rescaled(study: Study, name: str, encoder: Encoder, scaling: Preprocessing) -> Encoder:
    """Give an encoder another scaling, everything else of its preprocessing unchanged."""
    changed = replace(
        encoder.spec.preprocessing, scaling=scaling.scaling, percentiles=scaling.percentiles
    )
    if name == study.subject:
        return encoder.with_preprocessing(changed)
    return load(name, device=encoder.device, seed=encoder.seed, preprocessing=changed)


def _few_encoders(study: Study, more: Sequence[str]) -> Iterator[tuple[str, Encoder]]:
    """Give the encoder under test, its twin, and the first control with each of some beginnings."""
    names = [study.subject, *([study.twin] if study.twin else [])]
    for start in more:
        names += [n for n in study.contenders if n.startswith(start)][:1]
    for name in dict.fromkeys(names):
        encoders = study.contenders[name].encoders
        if encoders:
            yield name, encoders[0]


def _embedded(
    study: Study, dataset: Dataset, encoders: dict[str, Encoder], refused: list[str]
) -> Iterator[tuple[str, Array]]:
    """Embed changed images, one encoder at a time, so that one that refuses them stops no other."""
    for name, encoder in encoders.items():
        try:
            kept = EmbeddingCache() if study.cache else None
            yield name, embed_many(dataset, [encoder], cache=kept)[0].matrix
        except ZooError as error:
            refused.append(f"{name}: {error}")


def _channel_names(dataset: Dataset) -> list[str]:
    """Names of the channels where all images have the same, or none."""
    spec = dataset.spec
    if spec is not None and spec.channels[0] != spec.channels[1]:
        return []
    return list(channel_names(dataset[0]))


def _without(dataset: Dataset, channel: int) -> Callable[[int], Image]:
    return lambda i: blackened(dataset[i], channel)


def _one_channel_inputs(dataset: Dataset) -> list[str]:
    names = _channel_names(dataset)
    return [f"{name} only" for name in names] if len(names) > 1 else []


def _by_layer(
    encoder: Encoder, dataset: Dataset, refused: list[str]
) -> Iterator[tuple[str, Array]]:
    """Embed by layer, and the last layer by pooling, from tokens and channels where they exist."""
    last = {"channels", "tokens"} & encoder.can_give
    if "layer" not in encoder.can_give:
        refused.append(f"{encoder.name} cannot be read at other layers than its last.")
        layers: list[int | None] = [None] * bool(last)
    else:
        depth = _depth(encoder, dataset[0])
        layers = list(dict.fromkeys(map(round, np.linspace(1, depth, min(LAYERS, depth)))))
    for layer in layers:
        rows = _pooled(encoder, dataset, layer, last)
        where = f"layer {layer}" if layer is not None else "last layer"
        for pooling, matrix in rows.items():
            yield f"{where}, {pooling}", matrix


def _depth(encoder: Encoder, image: Image) -> int:
    """Count the layers by asking for one after the other."""
    depth = 0
    while True:
        try:
            encoder.encode([image.pixels], stains=[image.stains], layer=depth + 1)
        except ValueError:
            return max(depth, 1)
        depth += 1


def _pooled(
    encoder: Encoder, dataset: Dataset, layer: int | None, wanted: set[str]
) -> dict[str, Array]:
    """Embed a dataset at a layer in one pass, pooled in every way that the encoder allows."""
    parts: dict[str, list[Array]] = {}
    for start in range(0, len(dataset), 32):
        images = [dataset[i] for i in range(start, min(start + 32, len(dataset)))]
        features = encoder.encode(
            [image.pixels for image in images],
            stains=[image.stains for image in images],
            layer=layer,
            channels="channels" in wanted,
            tokens="tokens" in wanted,
        )
        parts.setdefault("embedding", []).append(features.embedding.cpu().numpy())
        if features.channels is not None:
            means = [c.mean(0) for c in features.channels.cpu().split(features.counts.tolist())]
            parts.setdefault("mean of channels", []).append(np.stack([m.numpy() for m in means]))
        if features.tokens is not None and features.token_offsets is not None:
            tokens = features.tokens.cpu().split(features.token_offsets.diff().tolist())
            for pooling, reduce in (("mean of tokens", "mean"), ("largest of tokens", "amax")):
                rows = np.stack([getattr(t, reduce)(0).numpy() for t in tokens])
                parts.setdefault(pooling, []).append(rows)
    return {pooling: np.concatenate(blocks) for pooling, blocks in parts.items()}
