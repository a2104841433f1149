"""Specs, plugin contract, discovery and hub loading. Does not import torch."""

from .designs import DatasetSpec, Design, Task
from .discovery import Registry, discover, registry, resolve_target
from .environment import Environment
from .errors import (
    AccessDeniedError,
    ArchitectureMismatchError,
    CollapseError,
    DataError,
    EvaluationError,
    ImageError,
    IntegrityError,
    MissingExtraError,
    PluginError,
    StoppedError,
    UnknownNameError,
    WeightsError,
    WeightsNotFoundError,
    ZooError,
    suggest,
)
from .hookspecs import hookimpl
from .hub import Fetched, fetch, is_cached, resolve_revision
from .hub_client import is_reachable
from .hub_upload import upload
from .plugin_report import PluginReport
from .preprocessing import Preprocessing, Scaling
from .specs import ControlKind, EncoderFamily, EncoderSpec, Role
from .tensor_header import check_header
from .weights import Weights

__all__ = [
    "AccessDeniedError",
    "ArchitectureMismatchError",
    "CollapseError",
    "ControlKind",
    "DataError",
    "DatasetSpec",
    "Design",
    "EncoderFamily",
    "EncoderSpec",
    "Environment",
    "EvaluationError",
    "Fetched",
    "ImageError",
    "IntegrityError",
    "MissingExtraError",
    "PluginError",
    "PluginReport",
    "Preprocessing",
    "Registry",
    "Role",
    "Scaling",
    "StoppedError",
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
    "registry",
    "resolve_revision",
    "resolve_target",
    "suggest",
    "upload",
]
