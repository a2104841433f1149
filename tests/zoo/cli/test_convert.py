"""`zoo convert --encoder` keeps what the encoder can load, and says what differs."""

import shutil

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import zoo
from zoo._cli import main


@pytest.fixture
def subcell(golden, tmp_path):
    """A folder with config.json only, and the weights as their authors publish them."""
    source = golden.parent / "subcell-tiny"
    shutil.copy(source / "config.json", tmp_path)
    return tmp_path, load_file(source / "model.safetensors")


def convert(folder, state, *options):
    torch.save(state, folder / "old.pth")
    arguments = ["convert", str(folder / "old.pth"), str(folder / "model.safetensors"), *options]
    return CliRunner().invoke(main, arguments)


def test_names_of_the_encoder_decide_about_prefixes(subcell):
    """SubCell has names that begin with encoder., which are dropped where no encoder is named."""
    folder, state = subcell
    done = convert(folder, state, "--encoder", f"subcell:{folder}")
    assert done.exit_code == 0, done.output
    assert f"{len(state)} tensors, as subcell:{folder} has them" in done.output
    assert "renamed" not in done.output
    assert zoo.load(f"subcell:{folder}", device="cpu").model is not None


def test_prefixes_are_dropped_where_the_encoder_has_none(golden, tmp_path):
    source = golden.parent / "channelvit-tiny"
    shutil.copy(source / "config.json", tmp_path)
    state = {f"backbone.{k}": v for k, v in load_file(source / "model.safetensors").items()}
    done = convert(tmp_path, {"state_dict": state}, "--encoder", f"channelvit:{tmp_path}")
    assert done.exit_code == 0, done.output
    assert f"renamed: {len(state)}, such as backbone." in done.output
    zoo.load(f"channelvit:{tmp_path}", device="cpu")


def test_what_does_not_fit_is_reported_and_not_kept(subcell):
    folder, state = subcell
    del state["pool_model.attention.bias"]
    state["classifier.weight"] = torch.zeros(2)
    done = convert(folder, state, "--encoder", f"subcell:{folder}")
    assert done.exit_code == 1
    for words in (
        "missing: pool_model.attention.bias",
        "unexpected: classifier.weight",
        "nothing is kept",
    ):
        assert words in done.output
    assert not (folder / "model.safetensors").exists()


def test_an_unknown_encoder_leaves_nothing(subcell):
    folder, state = subcell
    done = convert(folder, state, "--encoder", "subsell")
    assert done.exit_code == 1
    assert "No encoder is called" in done.output
    assert not (folder / "model.safetensors").exists()
