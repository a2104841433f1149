"""Every error of the zoo's own; all are children of `ZooError`."""

from zoo.registry import (
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
)

__all__ = [
    "AccessDeniedError",
    "ArchitectureMismatchError",
    "CollapseError",
    "DataError",
    "EvaluationError",
    "ImageError",
    "IntegrityError",
    "MissingExtraError",
    "PluginError",
    "StoppedError",
    "UnknownNameError",
    "WeightsError",
    "WeightsNotFoundError",
    "ZooError",
]
