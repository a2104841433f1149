"""ChannelViT: the recorded outputs of the authors' code, mixed batches, and refusals."""

import json

import checkpoints
import numpy as np
import pytest
import torch
from zoo.plugins.encoders.packed_layers import resampled

import zoo
from zoo import errors

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def folder(golden):
    return golden.parent / "channelvit-tiny"


@pytest.fixture(scope="module")
def encoder(folder):
    return zoo.load(f"channelvit:{folder}", device="cpu")


@pytest.fixture(scope="module")
def cases(folder):
    """Images, numbers of their channels, and expected outputs of each case."""
    record = json.loads((folder / "cases.json").read_text())
    expected = checkpoints.outputs(folder)
    found = []
    for i, case in enumerate(record["cases"]):
        shape = (case["batch"], len(case["channels"]), case["height"], case["width"])
        images = np.random.RandomState(record["seed"] + i).rand(*shape).astype(np.float32)
        found.append((images, case["channels"], expected[i]))
    return found


def encode(encoder, images, numbers, **asked):
    return encoder.encode(images, channel_index=[numbers] * len(images), preprocess=False, **asked)


def test_recorded_outputs(encoder, cases):
    for images, numbers, expected in cases:
        found = encode(encoder, images, numbers, tokens=True, channels=True)
        torch.testing.assert_close(found.embedding, expected["cls"], **CLOSE)
        patches = found.tokens.view(len(images), -1, 32)
        torch.testing.assert_close(patches, expected["tokens"][:, 1:], **CLOSE)
        means = patches.view(len(images) * len(numbers), -1, 32).mean(1)
        torch.testing.assert_close(found.channels, means, **CLOSE)


def test_images_of_different_channels_go_together(encoder, cases):
    """One channel takes the table of positions as it is, three take it resampled."""
    (eight, first, a), (three, second, b), (one, third, c), *_ = cases
    images = [*eight, *three, *one]
    numbers = [first] * len(eight) + [second] * len(three) + [third] * len(one)
    found = encoder.encode(images, channel_index=numbers, preprocess=False).embedding
    wanted = torch.cat([a["cls"], b["cls"], c["cls"]])
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_as_many_patches_as_the_table_has_rows_take_the_table_itself(encoder):
    """Four channels at half the size of the training, as the authors' code counts them."""
    state = encoder.model.state_dict()
    image = np.random.RandomState(0).rand(4, 16, 16).astype(np.float32)
    found = encoder.encode([image], preprocess=False, tokens=True).tokens
    model = zoo.load(encoder.name, device="cpu").model
    model.blocks = torch.nn.ModuleList()
    with torch.inference_mode():
        x, layout = model(torch.from_numpy(image), torch.tensor([4]), torch.arange(4))
    patches = torch.nn.functional.unfold(torch.from_numpy(image)[:, None], 8, stride=8).mT
    weight, bias = state["patch_embed.proj.weight"].flatten(1), state["patch_embed.proj.bias"]
    channel = state["patch_embed.channel_embed"][0, :, :4, 0, 0].T
    tokens = (patches @ weight.T + bias + channel[:, None]).flatten(0, 1)
    wanted = tokens + state["pos_embed"][0, 1:]
    norm = torch.nn.functional.layer_norm
    wanted = norm(wanted, (32,), state["norm.weight"], state["norm.bias"], 1e-6)
    torch.testing.assert_close(x[layout.patch_rows().flatten()], wanted, **CLOSE)
    assert found.shape == (16, 32)


def test_positions_are_resampled_at_the_size_of_the_training_too():
    stored = torch.rand(16, 4, generator=torch.Generator().manual_seed(0))
    assert (resampled(stored, 4, 4) - stored).abs().max() > 1e-3


CHANGES = {
    "another channel embedding": ("patch_embed.channel_embed", lambda t: t.roll(1, 2)),
    "other positions": ("pos_embed", lambda t: t.flip(1)),
    "no bias of queries": ("blocks.0.attn.qkv.bias", torch.zeros_like),
    "no first norm": ("blocks.1.norm1.weight", torch.ones_like),
    "no final norm": ("norm.bias", torch.zeros_like),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_part_decides_the_numbers(folder, tmp_path, cases, change):
    """Else the recorded outputs would not show that it is right."""
    checkpoints.changed(folder, tmp_path, *CHANGES[change])
    images, numbers, expected = cases[1]
    found = encode(zoo.load(f"channelvit:{tmp_path}", device="cpu"), images, numbers).embedding
    assert not torch.allclose(found, expected["cls"], **CLOSE)


def test_what_it_cannot_take_is_refused(encoder, cases):
    image = cases[1][0][0]
    with pytest.raises(errors.ImageError, match=r"channel_index must lie in 0 to 7 .* to 8"):
        encode(encoder, [image], [0, 1, 8])
    with pytest.raises(errors.ImageError, match=r"36 × 32 pixels, but .* patches of 8 × 8"):
        encoder.encode([np.zeros((2, 36, 32), np.float32)], preprocess=False)
    with pytest.raises(errors.ImageError, match=r"9 channels, but channelvit:.* takes 1 to 8"):
        encoder.encode([np.zeros((9, 32, 32), np.uint8)])
