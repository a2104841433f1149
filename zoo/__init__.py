"""Microscopy image encoders for any number of channels, judged beside trivial controls.

Names are imported when they are first used, so that ``import zoo`` costs milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.registry import (
        AccessDeniedError,
        ArchitectureMismatchError,
        DataError,
        DatasetSpec,
        EncoderFamily,
        EncoderSpec,
        EvaluationError,
        ImageError,
        IntegrityError,
        MissingExtraError,
        PluginError,
        Preprocessing,
        Task,
        UnknownNameError,
        Weights,
        WeightsError,
        WeightsNotFoundError,
        ZooError,
        fetch,
        hookimpl,
        near,
        resolve_revision,
    )

    from ._build import build, record
    from ._cache import cache_folder
    from ._compare import Comparison, compare
    from ._dataset import Dataset, Precomputed
    from ._embed import Embeddings, embed
    from ._encoder import Attention, Encoder, Features
    from ._evaluate import evaluate
    from ._findings import Diagnostic, Finding
    from ._images import ImageBatch
    from ._load import load, load_state
    from ._profiles import read_profiles
    from ._read import Image, read_image
    from ._result import Result

_HOME = {
    "Attention": "zoo._encoder",
    "Comparison": "zoo._compare",
    "Dataset": "zoo._dataset",
    "Diagnostic": "zoo._findings",
    "Embeddings": "zoo._embed",
    "Encoder": "zoo._encoder",
    "Features": "zoo._encoder",
    "Finding": "zoo._findings",
    "Image": "zoo._read",
    "ImageBatch": "zoo._images",
    "Precomputed": "zoo._dataset",
    "Result": "zoo._result",
    "build": "zoo._build",
    "cache_folder": "zoo._cache",
    "compare": "zoo._compare",
    "embed": "zoo._embed",
    "evaluate": "zoo._evaluate",
    "load": "zoo._load",
    "load_state": "zoo._load",
    "read_image": "zoo._read",
    "read_profiles": "zoo._profiles",
    "record": "zoo._build",
}

__all__ = [
    "AccessDeniedError",
    "ArchitectureMismatchError",
    "Attention",
    "Comparison",
    "DataError",
    "Dataset",
    "DatasetSpec",
    "Diagnostic",
    "Embeddings",
    "Encoder",
    "EncoderFamily",
    "EncoderSpec",
    "EvaluationError",
    "Features",
    "Finding",
    "Image",
    "ImageBatch",
    "ImageError",
    "IntegrityError",
    "MissingExtraError",
    "PluginError",
    "Precomputed",
    "Preprocessing",
    "Result",
    "Task",
    "UnknownNameError",
    "Weights",
    "WeightsError",
    "WeightsNotFoundError",
    "ZooError",
    "__version__",
    "build",
    "cache_folder",
    "compare",
    "embed",
    "evaluate",
    "fetch",
    "hookimpl",
    "load",
    "load_state",
    "near",
    "read_image",
    "read_profiles",
    "record",
    "resolve_revision",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("microscopy-zoo")
    if name not in __all__:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "zoo.registry")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
