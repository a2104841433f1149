"""What identifies a run in its table, so that it survives tools that drop a file's metadata."""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from .._data.dataset import Dataset
from .._encoders.contract import Encoder
from .embed import provenance_of
from .embeddings import Embeddings
from .manifest import fingerprint
from .tables import RUN


def key_of(dataset: Dataset, encoder: Encoder, reading: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the numbers of a run depend on.

    `reading` are the options with which images are read.
    """
    return {
        "items": len(dataset),
        "manifest": fingerprint(dataset),
        "reading": dict(reading),
        **provenance_of(dataset, encoder),
    }


def run_of(key: Mapping[str, Any]) -> str:
    """Return a short name of a run: 12 digits of the sha256 of its key."""
    return sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]


def with_run(found: Embeddings, run: str) -> Embeddings:
    """Return embeddings with the run in the last column of the table, and in the provenance."""
    metadata = found.metadata.drop(columns=RUN, errors="ignore").assign(**{RUN: run})
    return replace(found, metadata=metadata, provenance={**found.provenance, "run": run})
