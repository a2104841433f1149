"""A model of several files: parameters in two parts, and statistics beside them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from loopback_hub import in_place_of_the_hub
from safetensors.numpy import save
from zoo.registry import registry

import zoo
import zoo.testing
from zoo import errors, plugin
from zoo._cli import main

REPO, HERE = "org/split", "test_several_files"
FIRST = save({"weight": np.arange(6, dtype=np.float32).reshape(2, 3)})
SECOND = save({"bias": np.ones(2, np.float32)})
NAMES = ("first.safetensors", "second.safetensors", "statistics.json")
IMAGE = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))


class Linear(plugin.Encoder):
    """A linear network of the mean of three channels, less a recorded one."""

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        means = torch.stack([planes.mean((1, 2)) for planes in batch.images()])
        return plugin.Features(self.model(means - self.middle), batch.counts)


def build(spec, *, weights, seed, files):
    with torch.device("meta"):
        network = torch.nn.Linear(3, 2)
    second, statistics = files
    plugin.load_state(network, weights, second)
    made = Linear(spec, model=network)
    made.middle = json.loads(statistics.read_text())["mean"]
    return made


@pytest.fixture
def hub(monkeypatch, tmp_path):
    contents = dict(zip(NAMES, (FIRST, SECOND, b'{"mean": 0.5}'), strict=True))
    with in_place_of_the_hub(monkeypatch, tmp_path / "cache", {REPO: contents}) as hub:
        yield hub


@pytest.fixture
def spec(hub, monkeypatch):
    """The record of the model, known by its name."""
    weights, *files = (
        plugin.Weights(repo=REPO, revision=hub.commit, filename=name, size=100, gated=True)
        for name in NAMES
    )
    found = plugin.EncoderSpec(
        name="split",
        builder=f"{HERE}:build",
        summary="s",
        channels=(3, 3),
        preprocessing=plugin.Preprocessing(scaling="none", resize=None, crop=None),
        weights=weights,
        files=tuple(files),
        licence="MIT",
        citation="c",
        trained_on=("nothing",),
    )
    monkeypatch.setitem(registry().encoders, found.name, found)
    monkeypatch.syspath_prepend(Path(__file__).parent)  # its builder is in this file
    return found


def embedded(encoder):
    return encoder.encode([IMAGE.numpy()]).numpy()[0]


def test_all_are_fetched_given_to_the_builder_and_told(hub, spec, caplog):
    encoder = zoo.load("split", device="cpu")
    assert caplog.text.count("licence: MIT") == 1
    expected = np.arange(6).reshape(2, 3) @ (IMAGE.mean((1, 2)) - 0.5).numpy() + 1
    np.testing.assert_allclose(embedded(encoder), expected, rtol=1e-5)
    told = encoder.provenance()["files_sha256"]
    assert list(told) == [f"{REPO}@{hub.commit}/{name}" for name in NAMES[1:]]
    assert all(len(digest) == 64 for digest in told.values())
    asked = len(hub.requests)
    again = plugin.build(spec, weights=plugin.fetch(spec.weights).path)
    np.testing.assert_array_equal(embedded(again), embedded(encoder))
    assert len(hub.requests) == asked


def test_a_change_of_any_is_seen(hub, spec):
    zoo.load("split", device="cpu")
    path = plugin.fetch(spec.files[1]).path
    path.resolve().write_bytes(b'{"mean": 0.6}')
    with pytest.raises(errors.IntegrityError, match=r"statistics\.json is not org/split@"):
        zoo.load("split", device="cpu")


def test_one_that_is_missing_is_named(hub, spec):
    del hub.repos[REPO][NAMES[2]]
    with pytest.raises(errors.WeightsNotFoundError, match=f"split: .*{NAMES[2]}"):
        zoo.load("split", device="cpu")
    with pytest.raises(errors.WeightsNotFoundError, match=f"{NAMES[2]} is not in the cache"):
        plugin.build(spec, weights=plugin.fetch(spec.weights).path)


def test_pull_and_info_speak_of_all(hub, spec):
    def run(*arguments):
        return CliRunner().invoke(main, arguments, env={"COLUMNS": "300"})

    assert "no: zoo pull split" in run("info", "split").stdout
    zoo.plugin.fetch(spec.weights)
    assert "no: zoo pull split" in run("info", "split").stdout
    pulled = run("pull", "split")
    assert pulled.exit_code == 0, pulled.output
    assert f"{hub.endpoint}/{REPO}; 300 bytes" in pulled.stdout
    assert [name in pulled.stdout for name in NAMES] == [True] * 3
    assert re.search("on this machine +yes", run("info", "split").stdout)
    kept = run("cache", "list").stdout
    assert kept.count("split, org/split") == 3


def test_the_kit_passes(spec):
    checks = {check.name: check.skipped for check in zoo.testing.check_encoder("split")}
    assert checks["weights"] is None


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            {"bias": np.ones(2, np.float32), "weight": np.ones((2, 3), np.float32)},
            "in two files: weight",
        ),
        ({"other": np.ones(2, np.float32)}, "missing: bias; unexpected: other"),
        ({"bias": np.ones(3, np.float32)}, r"of the wrong shape: bias \(3,\) instead of \(2,\)"),
    ],
)
def test_parts_that_do_not_make_the_network(tmp_path, second, message):
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path, content in zip(paths, (FIRST, save(second)), strict=True):
        path.write_bytes(content)
    network = torch.nn.Linear(3, 2)
    before = network.weight.clone()
    with pytest.raises(errors.ArchitectureMismatchError, match=message):
        plugin.load_state(network, *paths)
    assert torch.equal(network.weight, before)


def test_wrong_files_are_named():
    for given in ("model.safetensors", ("model.safetensors",)):
        with pytest.raises(TypeError, match="files of split"):
            plugin.EncoderSpec(name="split", builder=f"{HERE}:build", summary="s", files=given)
