"""What an encoder cannot take: too many channels, and weights that are not its own."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import zoo
from zoo import errors, plugin

FIELDS = {"builder": "test_bad_inputs:build", "summary": "s"}


class Colours(plugin.Encoder):
    """A linear network of the mean of three colours."""

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        rows = torch.stack([planes.mean((1, 2)) for planes in batch.images()])
        return plugin.Features(self.model(rows), batch.counts)


def build(spec, *, weights, seed):
    network = torch.nn.Linear(3, 2)
    plugin.load_state(network, weights)
    return Colours(spec, model=network)


def write(path, seed):
    rng = np.random.default_rng(seed)
    tensors = {"weight": rng.random((2, 3)), "bias": rng.random(2)}
    save_file({k: v.astype(np.float32) for k, v in tensors.items()}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("count", [1, 5])
def test_an_encoder_of_colours_takes_three_channels(count):
    encoder = Colours(plugin.EncoderSpec(name="colours", channels=(3, 3), **FIELDS))
    given = [np.zeros((3, 64, 64), np.uint8), np.zeros((count, 64, 64), np.uint8)]
    wanted = rf"^image 1 has {count} channels?, but colours takes 3: choose channels, image\[\["
    with pytest.raises(errors.ImageError, match=wanted):
        encoder.encode(given)


def test_weights_of_another_network_with_equal_shapes_are_refused(tmp_path, monkeypatch):
    own, other = tmp_path / "own.safetensors", tmp_path / "other.safetensors"
    sha256, found = write(own, 1), write(other, 2)
    built = []

    def recorded(spec, *, weights, seed):
        built.append(weights)
        return build(spec, weights=weights, seed=seed)

    for path in (own, other):
        weights = plugin.Weights(path=path, sha256=sha256)
        spec = plugin.EncoderSpec(name="colours", channels=(3, 3), weights=weights, **FIELDS)
        monkeypatch.setattr("zoo._encoders.loading.get_spec", lambda _, spec=spec: spec)
        monkeypatch.setattr("zoo._encoders.build.resolve_target", lambda _: recorded)
        if path == own:
            assert zoo.load("colours", device="cpu").weights_sha256 == sha256
            continue
        with pytest.raises(errors.IntegrityError, match=f"expected sha256 {sha256}, found {found}"):
            zoo.load("colours", device="cpu")
    assert built == [own]  # no network has seen the other one
