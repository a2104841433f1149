"""A vision transformer of timm on tiles of tissue, pooled and normalised as its authors do."""

from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import SwiGLUPacked
from torch import Tensor, nn

from zoo import plugin

from .one_input import OneInput
from .transformers_names import load_transformers

_OWN = ("model", "pooling", "mean", "sd", "layout", "mlp")


class TileNetwork(nn.Module):
    """A backbone, what its authors subtract and divide by, and their pooling.

    ``pooling`` is ``"cls"``, or ``"cls+mean"``: the CLS token, then the mean of the patch tokens
    without registers. Both are taken after the final norm.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, backbone: nn.Module, mean: str, sd: str, pooling: str) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.pooling = pooling
        for name, values in (("mean", mean), ("sd", sd)):
            numbers = torch.tensor([float(v) for v in values.split()])
            self.register_buffer(name, numbers.view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map colour images `(B, 3, H, W)` in [0, 1] to embeddings `(B, D)` or `(B, 2 D)`."""
        tokens: Tensor = self.backbone.forward_features((images - self.mean) / self.sd)
        cls = tokens[:, 0]
        if self.pooling == "cls":
            return cls
        patches = tokens[:, self.backbone.num_prefix_tokens :]
        return torch.cat([cls, patches.mean(1)], dim=1)


class TileEncoder(OneInput):
    """Red, green and blue of an image are one input, whatever their order in the image."""

    model: TileNetwork

    def embed(self, images: Tensor) -> Tensor:
        """Pool as the authors do."""
        return self.model(images)  # type: ignore[no-any-return]

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.model.backbone.patch_embed.patch_size[0])

    @property
    def others(self) -> int:
        """The CLS token and registers."""
        return int(self.model.backbone.num_prefix_tokens)


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> TileEncoder:
    """Build from the record's options; filled from `weights`, or drawn by `seed` without."""
    if weights is None and not spec.seeded:  # never an untrained network under a trained name
        raise plugin.WeightsNotFoundError(f"{spec.name} was to be built without its weights")
    if weights is None:
        backbone = _drawn(spec, seed)
    else:
        with torch.device("meta"):
            backbone = create(spec)
        if spec.options["layout"] == "transformers":
            load_transformers(backbone, weights)
        else:
            plugin.load_state(backbone, weights)
    options = {key: str(spec.options[key]) for key in ("mean", "sd", "pooling")}
    return TileEncoder(spec, model=TileNetwork(backbone, **options).eval())


def create(spec: plugin.EncoderSpec) -> nn.Module:
    """Create the backbone of a record, on torch's default device; positions can be resampled."""
    arguments: dict[str, Any] = {k: v for k, v in spec.options.items() if k not in _OWN}
    if spec.options.get("mlp") == "swiglu":
        arguments |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    network: nn.Module = timm.create_model(
        str(spec.options["model"]),
        pretrained=False,
        num_classes=0,
        dynamic_img_size=True,
        **arguments,
    )
    return network


def _drawn(spec: plugin.EncoderSpec, seed: int) -> nn.Module:
    """Draw the parameters as timm does, on the CPU; the global generators stay as they are."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        network = create(spec)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".gamma"):  # else little more than the patches would be left
                parameter.fill_(1.0)
    return network
