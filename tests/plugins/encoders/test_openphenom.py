"""OpenPhenom: the recorded outputs of the authors' code, mixed channel counts, and refusals."""

import json
import shutil
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from zoo.plugins.encoders.openphenom_encoder import OpenPhenom

import zoo
from zoo import errors

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def folder(golden):
    return golden.parent / "openphenom-tiny"


@pytest.fixture(scope="module")
def encoder(folder):
    return zoo.load(f"openphenom:{folder}", device="cpu")


@pytest.fixture(scope="module")
def cases(folder):
    """Images and expected outputs of each case."""
    record = json.loads((folder / "cases.json").read_text())
    expected = checkpoints.outputs(folder)
    found = []
    for i, case in enumerate(record["cases"]):
        shape = (case["batch"], case["channels"], 32, 32)
        draw = np.random.RandomState(record["seed"] + i)
        found.append((draw.randint(0, 256, shape).astype(np.uint8), expected[i]))
    return found


def test_recorded_outputs(encoder, cases):
    for images, expected in cases:
        found = encoder.encode(images, channels=True, tokens=True)
        torch.testing.assert_close(found.embedding, expected["mean_of_patches"], **CLOSE)
        joined = found.channels.reshape(len(images), -1)
        torch.testing.assert_close(joined, expected["channelwise"], **CLOSE)
        patches = found.tokens.view(len(images), -1, 32)
        torch.testing.assert_close(patches, expected["tokens"][:, 1:], **CLOSE)


def test_channels_are_standardised_as_recorded(encoder, cases):
    for images, expected in cases:
        for image, wanted in zip(images, expected["standardized"], strict=True):
            torch.testing.assert_close(encoder.prepare(image, "an image"), wanted, **CLOSE)
        ready = [np.asarray(image) for image in expected["standardized"]]
        found = encoder.encode(ready, preprocess=False).embedding
        torch.testing.assert_close(found, expected["mean_of_patches"], **CLOSE)


def test_images_of_different_channel_counts_go_together(encoder, cases):
    images = [image for batch, _ in cases for image in batch]
    together = encoder.encode(images).embedding
    for image, row in zip(images, together, strict=True):
        torch.testing.assert_close(encoder.encode([image]).embedding[0], row, **CLOSE)


def test_the_order_of_channels_changes_nothing(encoder, cases):
    image = cases[1][0][0]
    found = encoder.encode([image, image[::-1].copy()]).embedding
    torch.testing.assert_close(found[0], found[1], **CLOSE)


CHANGES = {
    "another order of the MLP and qkv": ("blocks.1.in_proj.weight", lambda t: t.roll(32, 0)),
    "no bias of the MLP": ("blocks.0.mlp_bias", torch.zeros_like),
    "no norm of queries": ("blocks.0.q_norm.weight", torch.ones_like),
    "no norm of keys": ("blocks.2.k_norm.weight", lambda t: t.flip(0)),
    "no scale of a layer": ("blocks.2.ls.gamma", torch.ones_like),
    "a position of another channel": ("pos_embed", lambda t: t.roll(1, 1)),
    "no final norm": ("norm.weight", torch.ones_like),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_part_decides_the_numbers(folder, tmp_path, cases, change):
    """Else the recorded outputs would not show that it is right."""
    name, changed = CHANGES[change]
    checkpoints.changed(folder, tmp_path, f"vit_backbone.{name}", changed)
    images, expected = cases[1]
    found = zoo.load(f"openphenom:{tmp_path}", device="cpu").encode(images).embedding
    assert not torch.allclose(found, expected["mean_of_patches"], **CLOSE)


def test_what_it_cannot_take_is_refused(encoder, folder, tmp_path):
    with pytest.raises(errors.ImageError, match=r"12 channels, but openphenom:.* takes 1 to 11"):
        encoder.encode([np.zeros((12, 32, 32), np.uint8)])
    with pytest.raises(errors.ImageError, match=r"48 × 48 pixels, but .* takes 32 × 32"):
        encoder.encode([np.zeros((2, 48, 48), np.float32)], preprocess=False)
    shutil.copytree(folder, tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"depth": 4}, "blocks.3"),
        ({"embed_dim": 33}, "multiple of num_heads"),
        ({"depth": 0}, "depth 0, which is not a positive number"),
        ({"img_size": None}, "img_size None, which is not a positive number"),
    ):
        (tmp_path / "a" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(errors.WeightsError, match=message):
            zoo.load(f"openphenom:{tmp_path / 'a'}", device="cpu")
    del config["max_in_chans"]
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    with pytest.raises(errors.WeightsError, match="lacks max_in_chans, which cannot be guessed"):
        zoo.load(f"openphenom:{tmp_path / 'a'}", device="cpu")


# The published file: the encoder beside its decoder, and a norm of pooled rows that is not used


@pytest.fixture(scope="module")
def published(golden):
    return golden.parent / "openphenom-published-tiny"


def test_recorded_outputs_of_the_published_layout(published):
    """From `MAEModel.predict` of the authors, with a small network, on timm 1.0.31 in float32."""
    encoder = zoo.load(f"openphenom:{published}", device="cpu")
    record = json.loads((published / "cases.json").read_text())
    expected = checkpoints.outputs(published)
    for i, case in enumerate(record["cases"]):
        shape = (case["batch"], case["channels"], 32, 32)
        images = np.random.RandomState(record["seed"] + i).randint(0, 256, shape).astype(np.uint8)
        found = encoder.encode(images, channels=True)
        torch.testing.assert_close(found.embedding, expected[i]["mean_of_patches"], **CLOSE)
        joined = found.channels.reshape(len(images), -1)
        torch.testing.assert_close(joined, expected[i]["channelwise"], **CLOSE)


def test_the_named_network_has_the_tensors_of_the_authors_class():
    """Names and shapes of `MAEModel` at its full size: 178 million parameters, 712 MB."""
    folder = Path(__file__).parents[2] / "golden" / "openphenom-published-tiny"
    names = json.loads((folder / "names-s16.json").read_text())
    size = sum(np.prod(shape, dtype=np.int64) for shape in names.values())
    spec = zoo.encoder_info("openphenom-s16")
    assert round(4 * size / 1e6) == spec.weights.size / 1e6
    with torch.device("meta"):
        network = OpenPhenom(**spec.options, final_norm=False)
    ours = {f"encoder.{k}": list(v.shape) for k, v in network.state_dict().items()}
    theirs = {k: v for k, v in names.items() if k.startswith("encoder.")}
    unused = {k for k in theirs if k.startswith("encoder.vit_backbone.fc_norm.")}
    assert ours == {k: v for k, v in theirs.items() if k not in unused}
    assert len(unused) == 2


def test_a_published_file_with_a_tensor_missing_is_refused(published, tmp_path):
    shutil.copy(published / "config.json", tmp_path)
    state = load_file(published / "model.safetensors")
    del state["encoder.vit_backbone.blocks.1.mlp_bias"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(errors.ArchitectureMismatchError, match=r"1 missing .*blocks\.1\.mlp_bias"):
        zoo.load(f"openphenom:{tmp_path}", device="cpu")


def test_the_twin_of_the_named_network():
    encoder = zoo.load(zoo.encoder_info("openphenom-s16").twin, device="cpu")
    assert encoder.spec.control == "untrained"
    assert encoder.spec.trained_on == ()
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    assert encoder.encode([image]).embedding.shape == (1, 384)
