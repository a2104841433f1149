"""Every error of the zoo's own; all are children of `ZooError`."""

from zoo.registry import (
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
)

__all__ = [
    "AccessDeniedError",
    "ArchitectureMismatchError",
    "DataError",
    "EvaluationError",
    "ImageError",
    "IntegrityError",
    "MissingExtraError",
    "PluginError",
    "UnknownNameError",
    "WeightsError",
    "WeightsNotFoundError",
    "ZooError",
]
