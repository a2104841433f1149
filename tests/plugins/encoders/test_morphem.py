"""MorphEm: the recorded outputs of the authors' code, and refusals."""

import json

import checkpoints
import numpy as np
import pytest
import torch

import zoo
from zoo import errors

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def folder(golden):
    return golden.parent / "morphem-tiny"


@pytest.fixture(scope="module")
def encoder(folder):
    return zoo.load(f"morphem:{folder}", device="cpu")


@pytest.fixture(scope="module")
def cases(folder):
    """Images and expected outputs of each case."""
    record = json.loads((folder / "cases.json").read_text())
    expected = checkpoints.outputs(folder)
    found = []
    for i, case in enumerate(record["cases"]):
        shape = tuple(case[k] for k in ("batch", "channels", "height", "width"))
        images = np.random.RandomState(record["seed"] + i).randint(0, 255, shape).astype(np.float32)
        found.append((images, expected[i]))
    return found


def test_recorded_outputs(encoder, cases):
    for _, expected in cases:
        ready = [np.asarray(image) for image in expected["standardized"]]
        found = encoder.encode(ready, preprocess=False, channels=True, tokens=True)
        torch.testing.assert_close(found.embedding, expected["embedding"], **CLOSE)
        joined = found.channels.reshape(len(ready), -1)
        torch.testing.assert_close(joined, expected["embedding"], **CLOSE)
        patches = found.tokens.view(len(ready), len(ready[0]), -1, 32)[:, 0]
        torch.testing.assert_close(patches, expected["tokens_of_channel0"][:, 1:], **CLOSE)


def test_channels_are_standardised_as_recorded(encoder, cases):
    plain = zoo.Preprocessing(scaling="instance", resize=None, crop=None)
    same_size = encoder.with_preprocessing(plain)
    for images, expected in cases:
        for image, wanted in zip(images, expected["standardized"], strict=True):
            torch.testing.assert_close(same_size.prepare(image, "an image"), wanted, **CLOSE)
        found = same_size.encode(images).embedding
        torch.testing.assert_close(found, expected["embedding"], **CLOSE)


CHANGES = {
    "other positions": ("pos_embed", lambda t: t.roll(1, 1)),
    "no bias of queries": ("blocks.0.attn.qkv.bias", torch.zeros_like),
    "no second norm": ("blocks.2.norm2.weight", torch.ones_like),
    "no final norm": ("norm.bias", torch.zeros_like),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_part_decides_the_numbers(folder, tmp_path, cases, change):
    """Else the recorded outputs would not show that it is right."""
    checkpoints.changed(folder, tmp_path, *CHANGES[change])
    ready = np.asarray(cases[1][1]["standardized"])
    found = zoo.load(f"morphem:{tmp_path}", device="cpu").encode(ready, preprocess=False)
    assert not torch.allclose(found.embedding, cases[1][1]["embedding"], **CLOSE)


def test_what_it_cannot_take_is_refused(encoder):
    with pytest.raises(errors.ImageError, match=r"36 × 32 pixels, but .* patches of 8 × 8"):
        encoder.encode([np.zeros((2, 36, 32), np.float32)], preprocess=False)
    mixed = [np.zeros((c, 32, 32), np.uint8) for c in (1, 2)]
    with pytest.raises(errors.ZooError, match="concatenates channels"):
        encoder.encode(mixed)
