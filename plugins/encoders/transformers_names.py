"""Checkpoints of the ViT and DINOv2 of Hugging Face's transformers, for timm's networks.

Both compute the same; names differ, and queries, keys and values are three layers there.
"""

import re
from pathlib import Path

import torch
from torch import nn

from .part_of_checkpoint import read_part

_STEM = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
_VIT = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_DINOV2 = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}
_PROJECTIONS = ("query", "key", "value")
_UNUSED = ("embeddings.mask_token", "pooler.")


def load_transformers(model: nn.Module, path: Path) -> None:
    """Fill a network of timm, which may be on the meta device, strictly.

    Raises
    ------
    ArchitectureMismatchError
        For tensors that are missing, unexpected or of the wrong shape.
    IntegrityError
        When the file is not a safetensors file.
    """
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    parts = {name: published(name, "blocks.0.ls1.gamma" in own) for name in own}
    expected = {
        part: (shape[0] // len(parts[name]), *shape[1:])
        for name, shape in own.items()
        for part in parts[name]
    }
    given = read_part(path, expected, _UNUSED)
    state = {
        name: torch.cat([given[part] for part in of]) if len(of) > 1 else given[of[0]]
        for name, of in parts.items()
    }
    model.load_state_dict(state, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def published(name: str, dinov2: bool) -> tuple[str, ...]:
    """Return what a tensor of timm is called in transformers: one name, or three for qkv."""
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if block is None:
        stem, _, end = name.rpartition(".")
        return (_STEM[name],) if name in _STEM else (f"{_STEM[stem]}.{end}",)
    layer, rest = f"encoder.layer.{block[1]}", block[2]
    names = _DINOV2 if dinov2 else _VIT
    if rest in names:
        return (f"{layer}.{names[rest]}",)
    stem, _, end = rest.rpartition(".")
    if stem == "attn.qkv":
        return tuple(f"{layer}.attention.attention.{one}.{end}" for one in _PROJECTIONS)
    return (f"{layer}.{names[stem]}.{end}",)
