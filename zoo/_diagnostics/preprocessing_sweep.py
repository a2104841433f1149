"""Scores by layer, pooling and scaling."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import Preprocessing

from .._data.dataset import Dataset
from .._encoders.contract import Encoder
from .._encoders.loading import load
from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import score_task
from .changed_images import NO_IMAGES, embedded, few_encoders
from .study import Study, scored

Array = NDArray[Any]
LAYERS = 6  # at most, spread evenly over the depth
SWEPT = 512  # maximum number of items to embed again for a sweep
_SCALINGS = {
    "range": Preprocessing(scaling="range"),
    "minimum to maximum": Preprocessing(scaling="percentile", percentiles=(0, 100)),
    "percentiles 0.1–99.9": Preprocessing(scaling="percentile"),
    "instance": Preprocessing(scaling="instance"),
}


def sweep(study: Study) -> Diagnostic:
    """Score other layers, poolings and pixel scalings."""
    title = "Layers, pooling, preprocessing"
    how_to_read = (
        "Scores with another layer, another pooling, or another scaling of the pixels. "
        "Preprocessing can change scores as much as the model, so controls are swept as well."
    )
    if study.dataset.read is None or study.encoder is None:
        return Diagnostic(
            name="sweep",
            title=title,
            how_to_read=how_to_read,
            not_computed=(NO_IMAGES,),
            scores_again=True,
        )
    not_computed: list[str] = []
    dataset, questions = study.dataset, study.questions
    if len(dataset) > SWEPT:
        not_computed.append(
            f"Layers are swept for at most {SWEPT} items; there are {len(dataset)}."
        )
        by_layer: Iterator[tuple[str, Array]] = iter(())
    else:
        by_layer = _by_layer(study.encoder, dataset, not_computed)
    findings: list[Finding] = []

    def add(name: str, condition: str, matrix: Array) -> None:
        for question in questions:
            findings.append(
                scored(
                    question,
                    score_task(question, matrix[question.items])[:1],
                    encoder=name,
                    condition=condition,
                    seed=study.seed,
                )
            )

    for condition, matrix in by_layer:
        add(study.subject, condition, matrix)
    encoders = dict(few_encoders(study, ("pixel-statistics", "untrained:resnet18")))
    before = study.encoder.spec.preprocessing
    try:
        for what, scaling in _SCALINGS.items():
            changed = {name: _rescaled(study, name, e, scaling) for name, e in encoders.items()}
            for name, matrix in embedded(study, dataset, changed, not_computed):
                add(name, f"scaling {what}", matrix)
    finally:
        study.encoder.with_preprocessing(before)
    return Diagnostic(
        name="sweep",
        title=title,
        how_to_read=how_to_read,
        findings=tuple(findings),
        not_computed=tuple(dict.fromkeys(not_computed)),
        scores_again=True,
    )


def _rescaled(study: Study, name: str, encoder: Encoder, scaling: Preprocessing) -> Encoder:
    """Change the scaling of an encoder, and nothing else of its preprocessing."""
    changed = replace(
        encoder.spec.preprocessing, scaling=scaling.scaling, percentiles=scaling.percentiles
    )
    if name == study.subject:
        return encoder.with_preprocessing(changed)
    return load(
        name,
        device=encoder.device,
        dtype=encoder.dtype,
        seed=encoder.seed,
        preprocessing=changed,
    )


def _by_layer(
    encoder: Encoder, dataset: Dataset, not_computed: list[str]
) -> Iterator[tuple[str, Array]]:
    """Embed by layer, and the last layer by pooling of tokens and channels if available."""
    last = {"channels", "tokens"} & encoder.outputs
    if "layer" not in encoder.outputs:
        not_computed.append(f"{encoder.name} has no output for layers other than the last.")
        layers: list[int | None] = [None] * bool(last)
    else:
        depth = encoder.depth or 1
        layers = list(dict.fromkeys(map(round, np.linspace(1, depth, min(LAYERS, depth)))))
    for layer in layers:
        rows = _pooled(encoder, dataset, layer, last)
        where = f"layer {layer}" if layer is not None else "last layer"
        for pooling, matrix in rows.items():
            yield f"{where}, {pooling}", matrix


def _pooled(
    encoder: Encoder, dataset: Dataset, layer: int | None, wanted: set[str]
) -> dict[str, Array]:
    """Embed a dataset at a layer in one pass, with every pooling that the encoder allows."""
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
