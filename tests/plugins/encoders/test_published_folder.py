"""``hf:`` loads what `zoo push` published, by the family that config.json names."""

import json
import shutil

import numpy as np
import pytest
import torch
from loopback_hub import in_place_of_the_hub

import zoo
from zoo import errors

FAMILIES = ("chadavit", "openphenom", "channelvit", "morphem", "subcell", "celldino")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with in_place_of_the_hub(monkeypatch, tmp_path / "cache", {}) as hub:
        yield hub


def folder_of(golden, family, target, **changes):
    """A copy of a recorded checkpoint, with other fields in its config.json."""
    target.mkdir()
    source = golden.parent / f"{family}-tiny"
    shutil.copy(source / "model.safetensors", target)
    config = json.loads((source / "config.json").read_text()) | changes
    config = {k: v for k, v in config.items() if v is not None}
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_pushed_loads_back(golden, hub, tmp_path, family):
    folder = folder_of(golden, family, tmp_path / "mine", model_type=family)
    name = zoo.push(folder, "org/mine")
    assert name == f"hf:org/mine@{hub.commit}"
    ours, theirs = zoo.load(f"{family}:{folder}", device="cpu"), zoo.load(name, device="cpu")
    count = max(ours.channels[0], 4)
    images = np.random.default_rng(0).integers(0, 256, (2, count, 64, 64), dtype=np.uint8)
    assert torch.equal(ours.encode(images).embedding, theirs.encode(images).embedding)
    assert theirs.name == name
    assert theirs.spec.twin == f"{family}-untrained:org/mine@{hub.commit}"
    assert hub.commit in theirs.provenance()["weights"]
    twin = zoo.load(theirs.spec.twin, device="cpu").encode(images).embedding
    assert not torch.allclose(twin, theirs.encode(images).embedding)


@pytest.mark.parametrize("family", ["chadavit", "openphenom", "subcell", "celldino"])
def test_older_folders_are_known_by_a_field_of_their_own(golden, tmp_path, family):
    folder = folder_of(golden, family, tmp_path / "mine", model_type=None)
    assert (
        zoo.encoder_info(f"hf:{folder}").builder == zoo.encoder_info(f"{family}:{folder}").builder
    )


@pytest.mark.parametrize("revision", ["", "@main"])
def test_a_branch_is_looked_up_once(golden, hub, tmp_path, revision):
    folder = folder_of(golden, "chadavit", tmp_path / "mine")
    zoo.push(folder, "org/mine")
    name = f"hf:org/mine{revision}"
    assert zoo.load(name, device="cpu").weights_source == (
        f"org/mine@{hub.commit}/model.safetensors"
    )
    before = len(hub.requests)
    zoo.load(name, device="cpu")
    assert len(hub.requests) == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "vit"}, "says model_type 'vit'"),
        ({"model_type": ["chadavit"]}, "says model_type ['chadavit']"),
        ({"model_type": None}, "has no model_type"),
    ],
)
def test_other_layouts_are_refused(golden, hub, tmp_path, changes, told):
    folder = folder_of(golden, "morphem", tmp_path / "mine", **changes)
    hub.repos["org/other"] = {f.name: f.read_bytes() for f in folder.iterdir()}
    for name in ("hf:org/other", f"hf:{folder}"):
        with pytest.raises(errors.WeightsError) as error:
            zoo.load(name, device="cpu")
        assert f"{name}: its config.json {told}" in str(error.value)
        assert "chadavit, openphenom, channelvit, morphem, subcell" in str(error.value)
    with pytest.raises(errors.WeightsError, match="must name the family"):
        zoo.push(folder, "org/mine")
    assert "org/mine" not in hub.repos


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf:org/nothing", "no such repository"),
        ("hf:org/empty", "no such file in it"),
        ("hf:org/empty@v9", "no such revision"),
        ("hf:org/empty@../x", "not a git revision"),
        ("hf:nowhere", "no such folder"),
        ("hf:./no/where", "no such folder"),
        ("hf:a/b/c@main", "full 40-hex commit"),
    ],
)
def test_places_that_hold_nothing(hub, name, told):
    hub.repos["org/empty"] = {"pytorch_model.bin": b"pickle"}
    with pytest.raises(errors.WeightsError, match=told):
        zoo.load(name, device="cpu")
