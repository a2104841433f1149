"""Precomputed embeddings: from a dataset, or made elsewhere."""

from dataclasses import replace
from importlib.metadata import version

import numpy as np

from zoo.registry import (
    EncoderSpec,
    EvaluationError,
    Preprocessing,
)

from .._data.dataset import Dataset, Precomputed
from .._embedding.embeddings import Embeddings
from .._encoders.contract import Encoder
from ..metrics._matrix import check_matrix

PREFIX = "precomputed:"


def precomputed(name: str, dataset: Dataset) -> Embeddings:
    """Read embeddings that come with a dataset, and check them against its table."""
    profile = dataset.profiles[name]
    provenance = {
        "zoo": version("microscopy-zoo"),
        "dataset": dataset.name,
        "encoder": f"{PREFIX}{name}",
        "summary": profile.summary,
    }
    return matched(Embeddings(profile.read(), dataset.metadata, provenance), dataset)


def name_of(subject: Encoder | Embeddings) -> str:
    """Name of an encoder, or of the one that embeddings came from."""
    if isinstance(subject, Encoder):
        return subject.name
    return str(subject.provenance.get("encoder", f"{PREFIX}embeddings"))


def record_of(embeddings: Embeddings, profile: Precomputed | None = None) -> EncoderSpec:
    """Make a record of embeddings made elsewhere, from their provenance."""
    spec = EncoderSpec(
        name="embeddings",
        builder="zoo:Embeddings",
        summary=str(embeddings.provenance.get("summary", "Embeddings made elsewhere")),
        embedding_size=embeddings.matrix.shape[1],
        preprocessing=Preprocessing(),
    )
    if profile is not None:
        return replace(spec, role=profile.role, control=profile.control)
    return spec


def matched(embeddings: Embeddings, dataset: Dataset) -> Embeddings:
    """Raise unless the embeddings are of these items in this order."""
    name, matrix = name_of(embeddings), embeddings.matrix
    try:
        check_matrix(matrix, name)
    except ValueError as error:
        raise EvaluationError(str(error)) from None
    if len(matrix) != len(dataset):
        raise EvaluationError(f"{name} has {len(matrix)} rows, but {dataset.name} {len(dataset)}")
    for column in ("image", "image_path", "well_id", "well"):
        tables = (embeddings.metadata, dataset.metadata)
        if all(column in table.columns for table in tables):
            mine, theirs = (table[column].astype(str).to_numpy() for table in tables)
            if (apart := int((mine != theirs).sum())) > 0:
                raise EvaluationError(
                    f"{name} and {dataset.name} differ in the column {column!r} for {apart} of "
                    f"{len(matrix)} items: the rows must be the same, in the same order"
                )
            break
    return replace(embeddings, metadata=dataset.metadata.reset_index(drop=True))


def noise_by_index(record: EncoderSpec, dataset: Dataset, seed: int) -> Embeddings:
    """Draw noise by the index of an item, for datasets without images."""
    size = record.embedding_size or 1
    rng = np.random.default_rng([seed, 77])
    rows = rng.standard_normal((len(dataset), size)) * float(record.options["sd"])
    matrix = (rows + float(record.options["offset"])).astype(np.float32)
    provenance = {"zoo": version("microscopy-zoo"), "dataset": dataset.name, "encoder": record.name}
    return Embeddings(matrix, dataset.metadata, {**provenance, "seed": seed})
