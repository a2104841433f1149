"""The command line. Commands import inside functions, so that help and listings are fast."""

from . import (
    citing,
    diagnosis,
    embedding,
    environments,
    evaluation,
    listing,
    new_plugin,
    profiles,
    sources,
    training,
    weights,
    weights_cache,
)
from .group import main

__all__ = [
    "citing",
    "diagnosis",
    "embedding",
    "environments",
    "evaluation",
    "listing",
    "main",
    "new_plugin",
    "profiles",
    "sources",
    "training",
    "weights",
    "weights_cache",
]
