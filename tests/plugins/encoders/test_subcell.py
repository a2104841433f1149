"""SubCell: the recorded outputs of the authors' code, and refusals."""

import json
import shutil

import checkpoints
import numpy as np
import pytest
import torch

import zoo
from zoo import errors

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def folder(golden):
    return golden.parent / "subcell-tiny"


@pytest.fixture(scope="module")
def encoder(folder):
    return zoo.load(f"subcell:{folder}", device="cpu")


@pytest.fixture(scope="module")
def cases(folder):
    """Images and expected outputs of each case."""
    record = json.loads((folder / "cases.json").read_text())
    expected = checkpoints.outputs(folder)
    found = []
    for i, case in enumerate(record["cases"]):
        shape = (case["batch"], 4, case["height"], case["width"])
        images = np.random.RandomState(record["seed"] + i).rand(*shape).astype(np.float32) * 200
        found.append((images, expected[i]))
    return found


def test_recorded_outputs(encoder, cases):
    for _, expected in cases:
        ready = [np.asarray(image) for image in expected["standardized"]]
        found = encoder.encode(ready, preprocess=False).embedding
        torch.testing.assert_close(found, expected["embedding"], **CLOSE)
        with torch.inference_mode():
            tokens = encoder.model.encoder(expected["standardized"])
            weights = encoder.model.pool_model(tokens)[1]
        torch.testing.assert_close(tokens, expected["tokens"], **CLOSE)
        wanted = expected["pool_attention"]
        maps = weights[..., 1:].reshape(wanted.shape)
        torch.testing.assert_close(maps, wanted, **CLOSE)


def test_images_are_scaled_as_recorded(folder, cases):
    plain = zoo.Preprocessing(scaling="image", resize=None, crop=None)
    encoder = zoo.load(f"subcell:{folder}", device="cpu", preprocessing=plain)
    for images, expected in cases:
        for image, wanted in zip(images, expected["standardized"], strict=True):
            torch.testing.assert_close(encoder.prepare(image, "an image"), wanted, **CLOSE)
        torch.testing.assert_close(encoder.encode(images).embedding, expected["embedding"], **CLOSE)


CHANGES = {
    "channels in another order": (
        "encoder.embeddings.patch_embeddings.projection.weight",
        lambda t: t.flip(1),
    ),
    "other positions": ("encoder.embeddings.position_embeddings", lambda t: t.roll(1, 1)),
    "no bias of keys' queries": (
        "encoder.encoder.layer.0.attention.attention.query.bias",
        torch.zeros_like,
    ),
    "no final norm": ("encoder.layernorm.bias", torch.zeros_like),
    "no gate": ("pool_model.attention_u.0.weight", torch.zeros_like),
    "heads exchanged": ("pool_model.attention.weight", lambda t: t.flip(0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_part_decides_the_numbers(folder, tmp_path, cases, change):
    """Else the recorded outputs would not show that it is right."""
    checkpoints.changed(folder, tmp_path, *CHANGES[change])
    ready = np.asarray(cases[1][1]["standardized"])
    found = zoo.load(f"subcell:{tmp_path}", device="cpu").encode(ready, preprocess=False)
    assert not torch.allclose(found.embedding, cases[1][1]["embedding"], **CLOSE)


def test_what_it_cannot_take_is_refused(encoder, folder, tmp_path):
    with pytest.raises(errors.ImageError, match=r"3 channels, but subcell:.* takes 4"):
        encoder.encode([np.zeros((3, 32, 32), np.uint8)])
    with pytest.raises(errors.ImageError, match=r"36 × 32 pixels, but .* patches of 8 × 8"):
        encoder.encode([np.zeros((4, 36, 32), np.float32)], preprocess=False)
    shutil.copytree(folder, tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    for vit, message in (
        ({"hidden_act": "relu"}, "hidden_act 'relu', but SubCell has 'gelu'"),
        ({"num_hidden_layers": 4}, "encoder.encoder.layer.3"),
        ({"hidden_size": 31}, "multiple of num_heads"),
    ):
        text = json.dumps(config | {"vit_model": config["vit_model"] | vit})
        (tmp_path / "a" / "config.json").write_text(text)
        with pytest.raises(errors.WeightsError, match=message):
            zoo.load(f"subcell:{tmp_path / 'a'}", device="cpu")
    (tmp_path / "a" / "config.json").write_text(json.dumps({"vit_model": 1, "pool_model": {}}))
    with pytest.raises(errors.WeightsError, match=r"lacks image_size, .* cannot be guessed"):
        zoo.load(f"subcell:{tmp_path / 'a'}", device="cpu")
