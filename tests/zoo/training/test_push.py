"""Publishing a trained encoder on a hub on the loopback address, and loading it back."""

import pytest
import torch
from loopback_hub import in_place_of_the_hub

import zoo

from .conftest import SMALL


@pytest.fixture(scope="module")
def trained(stripes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("push") / "run"
    return zoo.train(stripes, folder, device="cpu", **{**SMALL, "steps": 1})


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with in_place_of_the_hub(monkeypatch, tmp_path / "cache", {}) as hub:
        yield hub


def test_what_is_pushed_loads_back(trained, stripes, hub):
    name = zoo.push(trained.folder, "org/mine")
    assert name == f"hf:org/mine@{hub.commit}"
    files = set(hub.repos["org/mine"])
    assert {"config.json", "model.safetensors", "README.md", "student/config.json"} <= files
    assert "state.pt" not in files
    ours, theirs = zoo.load(trained.encoder, device="cpu"), zoo.load(name, device="cpu")
    image = [stripes[0].pixels]
    assert torch.equal(ours.encode(image).embedding, theirs.encode(image).embedding)
    assert ours.spec.preprocessing == theirs.spec.preprocessing


def test_a_folder_without_an_encoder_is_not_published(tmp_path, hub):
    with pytest.raises(zoo.errors.WeightsError, match=r"no config\.json"):
        zoo.push(tmp_path, "org/mine")
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("fault", "sentence"), [("403", "is not uploaded.*refuses"), ("401", "is not uploaded")]
)
def test_a_hub_that_refuses(trained, hub, fault, sentence):
    hub.fault = fault
    with pytest.raises(zoo.errors.WeightsError, match=sentence):
        zoo.push(trained.folder, "org/mine")


def test_a_repository_without_an_organisation(trained, hub):
    with pytest.raises(ValueError, match="give org/name"):
        zoo.push(trained.folder, "mine")
