"""Small copies of pathology encoders, and random weights under the published names."""

from dataclasses import replace

import torch
from safetensors.torch import save_file
from zoo.plugins.encoders import pathology_encoder, transformers_names

SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2}


def on_meta(spec):
    """The backbone of a record, without memory."""
    with torch.device("meta"):
        return pathology_encoder.create(spec)


def small(spec):
    """The record with a network of the same layout, narrower and with two layers."""
    size = SMALL["embed_dim"] * (2 if spec.options["pooling"] == "cls+mean" else 1)
    options = {**spec.options, **SMALL}
    return replace(spec, name=f"{spec.name}-small", embedding_size=size, options=options)


def checkpoint(spec, path, seed=0):
    """Write random weights under the published names, and return them."""
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in on_meta(spec).state_dict().items():
        value = torch.rand(tensor.shape, generator=draw) * 0.2 - 0.1
        if spec.options["layout"] == "timm":
            state[name] = value
            continue
        parts = transformers_names.published(name, "init_values" in spec.options)
        for part, one in zip(parts, value.chunk(len(parts)), strict=True):
            state[part] = one.contiguous()
    save_file(state, path)
    return state
