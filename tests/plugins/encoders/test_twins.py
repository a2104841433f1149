"""Untrained twins of checkpoints of others, and the layouts of published files."""

import json
import shutil

import checkpoints
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo import errors

SCHEMES = ("openphenom", "morphem", "channelvit", "subcell", "celldino")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def place(golden):
    return lambda scheme: golden.parent / f"{scheme}-tiny"


def planes(scheme, seed=0):
    count = {"subcell": 4, "celldino": 5}.get(scheme, 3)
    return np.random.default_rng(seed).random((count, 32, 32)).astype(np.float32)


def embedding(name, image, **options):
    return zoo.load(name, device="cpu", **options).encode([image], preprocess=False).embedding


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_family_has_an_untrained_twin_of_the_same_network(scheme, place):
    trained = zoo.load(f"{scheme}:{place(scheme)}", device="cpu")
    assert trained.spec.twin == f"{scheme}-untrained:{place(scheme)}"
    twin = zoo.load(trained.spec.twin, device="cpu", seed=3)
    assert (twin.spec.role, twin.spec.control, twin.spec.weights) == ("control", "untrained", None)
    assert twin.spec.preprocessing == trained.spec.preprocessing
    assert twin.spec.slots == trained.spec.slots
    shapes = {name: t.shape for name, t in trained.model.state_dict().items()}
    assert {name: t.shape for name, t in twin.model.state_dict().items()} == shapes
    image = planes(scheme)
    found = twin.encode([image], preprocess=False).embedding
    assert torch.equal(embedding(twin.name, image, seed=3), found)
    assert not torch.allclose(embedding(twin.name, image, seed=4), found)
    other = twin.encode([planes(scheme, seed=1)], preprocess=False).embedding
    assert float((found - other).abs().mean()) > 1e-4
    with pytest.raises(ValueError, match="weights"):
        zoo.load(twin.name, weights=place(scheme) / "model.safetensors")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_twin_keeps_the_promises(scheme, place):
    zoo.testing.check_encoder(f"{scheme}-untrained:{place(scheme)}")


def test_fixed_positions_are_those_of_the_authors(place):
    twin = zoo.load(f"openphenom-untrained:{place('openphenom')}", device="cpu")
    recorded = load_file(place("openphenom") / "model.safetensors")["vit_backbone.pos_embed"]
    torch.testing.assert_close(twin.model.vit_backbone.pos_embed.detach(), recorded, **CLOSE)


def relaid(folder, target, change):
    """Copy a checkpoint with the names of its tensors changed."""
    shutil.copy(folder / "config.json", target)
    state = load_file(folder / "model.safetensors")
    save_file(change(state), target / "model.safetensors")
    return target


def table_of_channels(state):
    name = "patch_embed.channel_embed"
    table = state.pop(name)[0, :, :, 0, 0].T.contiguous()
    return {**state, f"{name}.weight": table}


def shifted_pooling(state):
    return {k.replace("_v.0.", "_v.1.").replace("_u.0.", "_u.1."): v for k, v in state.items()}


def with_decoder(state):
    extra = {"decoder.norm.weight": torch.ones(3), "encoder_decoder_proj.bias": torch.ones(2)}
    return {**{f"encoder.{k}": v for k, v in state.items()}, **extra}


LAYOUTS = {
    "channelvit": table_of_channels,
    "subcell": shifted_pooling,
    "openphenom": with_decoder,
}


@pytest.mark.parametrize("scheme", LAYOUTS)
def test_published_layouts_give_the_same_numbers(scheme, place, tmp_path):
    folder = relaid(place(scheme), tmp_path, LAYOUTS[scheme])
    image = planes(scheme)
    wanted = embedding(f"{scheme}:{place(scheme)}", image)
    torch.testing.assert_close(embedding(f"{scheme}:{folder}", image), wanted, **CLOSE)


@pytest.mark.parametrize("scheme", LAYOUTS)
@pytest.mark.parametrize("fault", ["missing", "shape", "unexpected"])
def test_published_layouts_are_strict(scheme, place, tmp_path, fault):
    def change(state):
        state = LAYOUTS[scheme](state)
        name = next(n for n in sorted(state) if "norm" in n and not n.startswith("decoder"))
        if fault == "missing":
            state.pop(name)
        elif fault == "shape":
            state[name] = torch.ones(5)
        else:
            state["encoder.surplus" if scheme == "openphenom" else "surplus"] = torch.ones(1)
        return state

    folder = relaid(place(scheme), tmp_path, change)
    with pytest.raises(errors.ArchitectureMismatchError):
        zoo.load(f"{scheme}:{folder}", device="cpu")


def test_a_broken_file_of_a_known_layout_is_told(place, tmp_path):
    folder = relaid(place("openphenom"), tmp_path, with_decoder)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(errors.IntegrityError):
        zoo.load(f"openphenom:{folder}", device="cpu")


@pytest.mark.parametrize("scheme", ["openphenom", "morphem", "channelvit", "celldino"])
def test_a_size_may_be_two_equal_numbers_and_no_others(scheme, place, tmp_path):
    folder = checkpoints.changed(place(scheme), tmp_path, *same_tensor(place(scheme)))
    config = json.loads((folder / "config.json").read_text())
    image = planes(scheme)
    (folder / "config.json").write_text(json.dumps(config | {"img_size": [32, 32]}))
    wanted = embedding(f"{scheme}:{place(scheme)}", image)
    assert torch.equal(embedding(f"{scheme}:{folder}", image), wanted)
    (folder / "config.json").write_text(json.dumps(config | {"img_size": [32, 64]}))
    with pytest.raises(errors.WeightsError, match=r"img_size \[32, 64\].*square grid"):
        zoo.load(f"{scheme}:{folder}", device="cpu")


def same_tensor(folder):
    name = next(iter(load_file(folder / "model.safetensors")))
    return name, lambda tensor: tensor


@pytest.mark.parametrize("size", [(32, 48), (48, 32), (16, 64)])
def test_images_that_are_not_square_have_positions_in_the_right_order(place, size):
    """Turning images and the table of positions by a quarter exchanges rows and columns."""
    encoder = zoo.load(f"morphem:{place('morphem')}", device="cpu")
    image = np.random.default_rng(0).random((1, *size)).astype(np.float32)
    found = encoder.encode([image], preprocess=False).embedding
    model = encoder.model
    with torch.no_grad():
        table = model.pos_embed[:, 1:].unflatten(1, (model.grid, model.grid))
        model.pos_embed[:, 1:] = table.transpose(1, 2).flatten(1, 2).clone()
        weight = model.patch_embed.proj.weight
        weight.copy_(weight.transpose(2, 3).clone())
    turned = encoder.encode([image.transpose(0, 2, 1).copy()], preprocess=False).embedding
    torch.testing.assert_close(turned, found, **CLOSE)
