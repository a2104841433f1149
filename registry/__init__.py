"""Vocabulary, plugin contract, discovery and hub loading. Imports no torch."""

from .discovery import PluginReport, Registry, discover, registry, resolve_target
from .errors import (
    AccessDeniedError,
    ArchitectureMismatchError,
    DataError,
    EvaluationError,
    ImageError,
    IntegrityError,
    MissingExtraError,
    PluginError,
    UnknownNameError,
    WeightsError,
    WeightsNotFoundError,
    ZooError,
    near,
)
from .hookspecs import hookimpl
from .hub import Fetched, check_header, fetch, is_cached, is_reachable, resolve_revision
from .specs import DatasetSpec, EncoderFamily, EncoderSpec, Preprocessing, Task, Weights

__all__ = [
    "AccessDeniedError",
    "ArchitectureMismatchError",
    "DataError",
    "DatasetSpec",
    "EncoderFamily",
    "EncoderSpec",
    "EvaluationError",
    "Fetched",
    "ImageError",
    "IntegrityError",
    "MissingExtraError",
    "PluginError",
    "PluginReport",
    "Preprocessing",
    "Registry",
    "Task",
    "UnknownNameError",
    "Weights",
    "WeightsError",
    "WeightsNotFoundError",
    "ZooError",
    "check_header",
    "discover",
    "fetch",
    "hookimpl",
    "is_cached",
    "is_reachable",
    "near",
    "registry",
    "resolve_revision",
    "resolve_target",
]
