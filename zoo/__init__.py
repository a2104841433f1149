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

    from ._compare import compare
    from ._data.dataset import Dataset, Precomputed
    from ._embedding.cache import cache_folder
    from ._embedding.embed import embed
    from ._embedding.embeddings import Embeddings
    from ._embedding.profiles import read_profiles
    from ._encoders.build import build, record
    from ._encoders.contract import Attention, Encoder, Features
    from ._encoders.loading import load, load_state
    from ._evaluate import evaluate
    from ._evaluation.comparison import Comparison
    from ._evaluation.findings import Diagnostic, Finding
    from ._images.batch import ImageBatch
    from ._images.image import Image
    from ._images.read import read_image
    from ._result import Result

_HOME = {
    "Attention": "zoo._encoders.contract",
    "Comparison": "zoo._compare",
    "Dataset": "zoo._data.dataset",
    "Diagnostic": "zoo._evaluation.findings",
    "Embeddings": "zoo._embedding.embed",
    "Encoder": "zoo._encoders.contract",
    "Features": "zoo._encoders.contract",
    "Finding": "zoo._evaluation.findings",
    "Image": "zoo._images.read",
    "ImageBatch": "zoo._images.batch",
    "Precomputed": "zoo._data.dataset",
    "Result": "zoo._result",
    "build": "zoo._encoders.build",
    "cache_folder": "zoo._embedding.cache",
    "compare": "zoo._compare",
    "embed": "zoo._embedding.embed",
    "evaluate": "zoo._evaluate",
    "load": "zoo._encoders.loading",
    "load_state": "zoo._encoders.loading",
    "read_image": "zoo._images.read",
    "read_profiles": "zoo._embedding.profiles",
    "record": "zoo._encoders.build",
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
