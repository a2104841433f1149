"""Cell-DINO and channel-adaptive DINO: the recorded outputs of the authors' code.

Recorded in float32 on a CPU from facebookresearch/dinov2 at commit cf3c71a (December 2025), with
torch 2.14.1; equal bit for bit when recorded again.
"""

import json

import checkpoints
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from zoo.plugins.encoders import celldino_encoder, packed_layers

import zoo
from zoo import errors

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
KINDS = ("", "-bag", "-registers")
WIDE, BAG, REGISTERS = KINDS


@pytest.fixture
def place(golden):
    return lambda kind: golden.parent / f"celldino{kind}-tiny"


def load(folder, **options):
    return zoo.load(f"celldino:{folder}", device="cpu", **options)


def cases(folder):
    """Return raw images and expected outputs of each case."""
    record = json.loads((folder / "cases.json").read_text())
    found = []
    for i, (case, expected) in enumerate(
        zip(record["cases"], checkpoints.outputs(folder), strict=True)
    ):
        shape = [case[k] for k in ("batch", "channels", "height", "width")]
        draw = np.random.RandomState(record["seed"] + i)
        found.append((draw.randint(0, 256, shape).astype(np.uint8), expected))
    return found


def differences(encoder, folder):
    """Return how far the embedding of each case is from the recorded one."""
    found = []
    for _, expected in cases(folder):
        ready = [np.asarray(image) for image in expected["standardized"]]
        embedding = encoder.encode(ready, preprocess=False).embedding
        found.append(float((embedding - expected["embedding"]).abs().max()))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_outputs(place, kind):
    encoder = load(place(kind))
    for _, expected in cases(place(kind)):
        ready = [np.asarray(image) for image in expected["standardized"]]
        found = encoder.encode(ready, preprocess=False)
        torch.testing.assert_close(found.embedding, expected["embedding"], **CLOSE)
        images = expected["standardized"]
        with torch.inference_mode():
            _, patches = encoder.model(images.flatten(0, 1)[:, None] if kind == BAG else images)
        wanted = expected["patches"]
        torch.testing.assert_close(patches.view(wanted.shape), wanted, **CLOSE)


def test_a_bag_of_channels_gives_each_channel_and_its_patches(place):
    encoder = load(place(BAG))
    for _, expected in cases(place(BAG)):
        ready = [np.asarray(image) for image in expected["standardized"]]
        found = encoder.encode(ready, preprocess=False, channels=True, tokens=True)
        joined = found.channels.reshape(len(ready), -1)
        torch.testing.assert_close(joined, expected["embedding"], **CLOSE)
        wanted = expected["patches"].flatten(0, 2)
        torch.testing.assert_close(found.tokens, wanted, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_are_standardised_as_recorded(place, kind):
    plain = zoo.Preprocessing(resize=None, crop=None, standardise=1e-14)
    encoder = load(place(kind), preprocessing=plain)
    assert load(place(kind)).spec.preprocessing.standardise == 1e-14
    for images, expected in cases(place(kind)):
        for image, wanted in zip(images, expected["standardized"], strict=True):
            torch.testing.assert_close(encoder.prepare(image, "an image"), wanted, **CLOSE)
        found = encoder.encode(images).embedding
        torch.testing.assert_close(found, expected["embedding"], **CLOSE)


def test_planes_of_weak_contrast_are_standardised_almost_as_the_authors_do(place):
    """They divide by the standard deviation of values in [0, 1] and 1e-7; we without the latter."""
    plain = zoo.Preprocessing(resize=None, crop=None, standardise=1e-14)
    encoder = load(place(BAG), preprocessing=plain)
    plane = np.random.RandomState(0).randint(100, 110, (1, 32, 32)).astype(np.uint8)
    wide = plane / 255.0
    spread = wide.std()
    assert 0.01 < spread < 0.012
    wanted = (wide - wide.mean()) / (spread + 1e-7)
    np.testing.assert_allclose(encoder.prepare(plane, "a plane"), wanted, rtol=1.1e-5, atol=1e-6)
    assert not encoder.prepare(np.full((1, 32, 32), 7, np.uint8), "a plane").any()


TENSORS = {
    "channels in another order": (WIDE, "patch_embed.proj.weight", lambda t: t.roll(1, 1)),
    "no bias of patches": (WIDE, "patch_embed.proj.bias", torch.zeros_like),
    "other positions": (WIDE, "pos_embed", lambda t: t.roll(1, 1)),
    "no position of CLS": (WIDE, "pos_embed", lambda t: torch.cat([0 * t[:, :1], t[:, 1:]], 1)),
    "no scale of attention": (WIDE, "blocks.2.4.ls1.gamma", torch.ones_like),
    "no scale of the MLP": (WIDE, "blocks.1.3.ls2.gamma", torch.ones_like),
    "no bias of queries": (WIDE, "blocks.0.0.attn.qkv.bias", torch.zeros_like),
    "layers exchanged": (WIDE, "blocks.1.2.mlp.fc2.weight", lambda t: t.flip(0)),
    "no final norm": (WIDE, "norm.bias", torch.zeros_like),
    "other positions in a bag": (BAG, "pos_embed", lambda t: t.flip(1)),
    "no scale in a bag": (BAG, "blocks.1.1.ls1.gamma", torch.ones_like),
    "gate and value exchanged": (REGISTERS, "blocks.0.mlp.w12.weight", lambda t: t.roll(88, 0)),
    "no bias of the gate": (REGISTERS, "blocks.1.mlp.w12.bias", torch.zeros_like),
    "other registers": (REGISTERS, "register_tokens", lambda t: -t),
    "registers as CLS": (REGISTERS, "cls_token", torch.zeros_like),
}


@pytest.mark.parametrize("change", TENSORS)
def test_each_tensor_decides_the_numbers(place, tmp_path, change):
    """Else the recorded outputs would not show that it is right."""
    kind, name, changed = TENSORS[change]
    checkpoints.changed(place(kind), tmp_path, name, changed)
    assert min(differences(load(tmp_path), place(kind))) > 1e-3


def test_the_mask_of_the_training_decides_nothing(place, tmp_path):
    checkpoints.changed(place(WIDE), tmp_path, "mask_token", torch.ones_like)
    assert max(differences(load(tmp_path), place(WIDE))) < 1e-6


def by_size(stored, rows, columns):
    """Resample as most code does, without the authors' 0.1."""
    grid = round(len(stored) ** 0.5)
    square = stored.view(1, grid, grid, -1).permute(0, 3, 1, 2)
    found = F.interpolate(square, (rows, columns), mode="bicubic", align_corners=False)
    return found.flatten(2)[0].T


def turned(stored, rows, columns):
    """Exchange height and width."""
    found = packed_layers.resampled(stored, columns, rows)
    return found.unflatten(0, (columns, rows)).transpose(0, 1).flatten(0, 1)


def as_they_are(stored, rows, columns):
    """Take the table itself wherever it has as many rows as there are patches."""
    if rows * columns == len(stored):
        return stored
    return packed_layers.resampled(stored, rows, columns)


# Of the four cases: the size of the training, 48 × 48, 32 × 64, and 64 × 16 with as many patches.
@pytest.mark.parametrize(
    ("other", "moved"), [(by_size, [1, 2, 3]), (turned, [1, 2, 3]), (as_they_are, [3])]
)
def test_how_positions_are_resampled_decides_the_numbers(place, monkeypatch, other, moved):
    monkeypatch.setattr(celldino_encoder, "resampled", other)
    far = differences(load(place(WIDE)), place(WIDE))
    assert [i for i, distance in enumerate(far) if distance > 1e-3] == moved
    assert min(far) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eps", [1e-5, 1e-8])
def test_the_epsilon_of_norms_decides_the_numbers(place, kind, eps):
    encoder = load(place(kind))
    for layer in encoder.model.modules():
        if isinstance(layer, torch.nn.LayerNorm):
            layer.eps = eps
    assert min(differences(encoder, place(kind))) > 1e-4


def test_the_exact_gelu_decides_the_numbers(place, monkeypatch):
    exact = F.gelu
    monkeypatch.setattr(F, "gelu", lambda x: exact(x, approximate="tanh"))
    assert min(differences(load(place(WIDE)), place(WIDE))) > 1e-4


def test_names_of_layers_are_in_as_many_groups_as_config_json_says(place, tmp_path):
    """Two groups of five layers are three: two, two, and what is left over."""
    names = {f"{n.split('.')[1]}.{n.split('.')[2]}" for n in layers(load(place(WIDE)))}
    assert names == {"0.0", "0.1", "1.2", "1.3", "2.4"}

    def plain(name):
        parts = name.split(".")
        return ".".join([parts[0], *parts[2:]]) if parts[0] == "blocks" else name

    folder = checkpoints.relaid(place(WIDE), tmp_path, {"block_chunks": 0}, plain)
    assert max(differences(load(folder), place(WIDE))) < 1e-6
    for groups in (1, 5):
        config = json.loads((place(WIDE) / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"block_chunks": groups}))
        with pytest.raises(errors.ArchitectureMismatchError):
            load(tmp_path)


def layers(encoder):
    return [name for name in encoder.model.state_dict() if name.startswith("blocks.")]
