"""What ``zoo`` shows to the world, pinned."""

import subprocess
import sys

import pytest
import zoo.kernels
import zoo.registry

import zoo
from zoo import errors, plugin

FACE = """
Attention Comparison Dataset Design Diagnostic Embeddings Encoder Estimate Features Finding Image
ImageBatch Preprocessing Result Row Task Training Verdict ZooError __version__ aggregate compare
embed encoder_info errors evaluate explore feature_columns kernels list_datasets list_encoders load
load_dataset metrics open_images plugin predict push read_image read_profiles registry testing train
"""
FOR_AUTHORS = """
AccessDeniedError ArchitectureMismatchError Attention ControlKind DataError Dataset DatasetSpec
Design Encoder EncoderFamily EncoderSpec Environment EvaluationError Features Image ImageBatch
ImageError IntegrityError MissingExtraError PluginError Precomputed Preprocessing Task
UnknownNameError Weights WeightsError WeightsNotFoundError ZooError build cache_folder fetch
get_spec hookimpl load_state resolve_revision suggest thread_safe
"""


def test_every_public_name_can_be_had():
    for module in (zoo, zoo.kernels, zoo.registry, plugin, errors):
        for name in module.__all__:
            assert getattr(module, name) is not None
    assert set(dir(zoo)) == set(zoo.__all__)


def test_the_faces_change_on_purpose_only():
    assert sorted(zoo.kernels.__all__) == [
        "BACKENDS",
        "ChannelAttention",
        "LayerWeights",
        "RaggedPlan",
        "TokenLayout",
        "channel_attention",
        "norm_qkv",
        "pack_tokens",
        "ragged_attention",
        "residual_mlp",
    ]
    assert zoo.__all__ == FACE.split()
    assert plugin.__all__ == FOR_AUTHORS.split()


@pytest.mark.parametrize("module", ["testing", "kernels", "metrics", "plugin", "errors"])
def test_modules_are_reached_without_importing_them_by_name(module):
    code = f"import zoo; assert zoo.{module}.__name__ == 'zoo.{module}'"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=120)


def test_an_unknown_name_is_an_attribute_error():
    for module in (zoo, plugin):
        with pytest.raises(AttributeError, match="laod"):
            _ = module.laod


def test_every_error_of_the_zoo_is_one():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), zoo.ZooError)
