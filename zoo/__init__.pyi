from . import errors, kernels, metrics, plugin, registry, testing
from ._compare import Comparison, compare
from ._data.dataset import Dataset
from ._data.sources import load_dataset, open_images
from ._embedding.aggregate import aggregate
from ._embedding.embed import embed
from ._embedding.embeddings import Embeddings
from ._embedding.profiles import feature_columns, read_profiles
from ._encoders.contract import Encoder
from ._encoders.features import Attention, Features
from ._encoders.loading import load
from ._evaluate import evaluate
from ._evaluation.findings import Diagnostic, Finding
from ._evaluation.intervals import Estimate
from ._evaluation.scorecard import Row
from ._evaluation.verdict import Verdict
from ._explore import explore
from ._images.batch import ImageBatch
from ._images.image import Image
from ._images.read import read_image
from ._listing import encoder_info, list_datasets, list_encoders
from ._predict import predict
from ._push import push
from ._result import Result
from ._train import Training, train
from .registry import Design, Preprocessing, Task, ZooError

__version__: str

__all__ = [
    "Attention",
    "Comparison",
    "Dataset",
    "Design",
    "Diagnostic",
    "Embeddings",
    "Encoder",
    "Estimate",
    "Features",
    "Finding",
    "Image",
    "ImageBatch",
    "Preprocessing",
    "Result",
    "Row",
    "Task",
    "Training",
    "Verdict",
    "ZooError",
    "__version__",
    "aggregate",
    "compare",
    "embed",
    "encoder_info",
    "errors",
    "evaluate",
    "explore",
    "feature_columns",
    "kernels",
    "list_datasets",
    "list_encoders",
    "load",
    "load_dataset",
    "metrics",
    "open_images",
    "plugin",
    "predict",
    "push",
    "read_image",
    "read_profiles",
    "registry",
    "testing",
    "train",
]
