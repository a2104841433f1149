"""Recorded checkpoints of other people's encoders: their outputs, and copies with one change."""

import json
import shutil

from safetensors.torch import load_file, save_file


def outputs(folder):
    """Return the expected outputs of each case by name, in the order of the cases."""
    found = {}
    for key, value in load_file(folder / "expected.safetensors").items():
        case, _, name = key.partition(".")
        found.setdefault(int(case.removeprefix("case")), {})[name] = value
    return [found[i] for i in sorted(found)]


def changed(folder, target, name, change):
    """Copy a checkpoint with one tensor changed, and return where it is."""
    shutil.copy(folder / "config.json", target)
    state = load_file(folder / "model.safetensors")
    state[name] = change(state[name]).contiguous()
    save_file(state, target / "model.safetensors")
    return target


def relaid(folder, target, fields, rename=str):
    """Copy a checkpoint with other fields in config.json and other names of its tensors."""
    config = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | fields))
    state = load_file(folder / "model.safetensors")
    save_file({rename(name): t for name, t in state.items()}, target / "model.safetensors")
    return target
