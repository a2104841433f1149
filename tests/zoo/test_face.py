"""What ``zoo`` shows to the world, pinned."""

import pytest
import zoo.kernels
import zoo.registry

import zoo

FACE = """
AccessDeniedError ArchitectureMismatchError Attention Comparison DataError Dataset
DatasetSpec Diagnostic Embeddings Encoder EncoderFamily EncoderSpec EvaluationError
Features Finding Image ImageBatch ImageError IntegrityError MissingExtraError
PluginError Precomputed Preprocessing Result Task UnknownNameError Weights WeightsError
WeightsNotFoundError ZooError __version__ build cache_folder compare embed evaluate fetch
hookimpl load load_state near read_image read_profiles record resolve_revision
"""


def test_every_public_name_can_be_had():
    for module in (zoo, zoo.kernels, zoo.registry):
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


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="laod"):
        _ = zoo.laod


def test_every_error_of_the_zoo_is_one():
    for name in zoo.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(zoo, name), zoo.ZooError)
