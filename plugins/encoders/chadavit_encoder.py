"""ChAda-ViT as an encoder: half precision, choice of layers, CUDA graphs, checks of images."""

import warnings
from pathlib import Path
from typing import Any

import torch
from zoo.kernels import residual_mlp

from zoo import plugin

from .chadavit_model import ChAdaViT
from .chadavit_replay import Replay
from .channel_tokens import ChannelTokens
from .packed_vit import filled


class ChAdaViTEncoder(ChannelTokens):
    """Runs `ChAdaViT` on batches; small batches on a GPU run as CUDA graphs."""

    outputs = frozenset({"attention", "channels", "tokens", "layer"})
    uses_channel_index = True
    model: ChAdaViT
    _recorded: Replay | None = None

    @property
    def depth(self) -> int:
        """Layers of the network."""
        return len(self.model.blocks)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "ChAdaViTEncoder":
        """Move to a device and a floating dtype, as `lower` says; returns itself."""
        if dtype is not None:
            self.check_dtype(dtype)
        lowered = dtype is not None and dtype != self.dtype and dtype.itemsize < 4
        super().to(device, None if lowered else dtype)
        self._recorded = None  # a CUDA graph reads parameters where they were
        if lowered and dtype is not None:
            self.dtype = dtype
            lower(self.model, dtype)
            if self.device.type == "cuda":
                self._warn_of_plain_layers()
        return self

    def usual_dtype(self, device: torch.device) -> torch.dtype:
        """bfloat16, as `lower` says, on a GPU that has fused kernels for it, or else float32.

        Pixels that are not scaled may be beyond the range of float16.
        """
        if device.type != "cuda" or self.spec.preprocessing.scaling == "none":
            return torch.float32
        return torch.bfloat16 if self._why_plain(device) is None else torch.float32

    def _why_plain(self, device: torch.device) -> str | None:
        """Return why a device has no fused kernels for the layers of this network, or None."""
        block: Any = self.model.blocks[0]
        weights = block.weights()
        halves = [w.to(device, torch.float16) for w in weights if isinstance(w, torch.Tensor)]
        none = torch.empty((0, len(block.norm1.weight)), device=device)
        try:
            residual_mlp(none, none, type(weights)(*halves, weights.eps), backend="triton")
        except ValueError as error:
            return str(error)
        return None

    def _warn_of_plain_layers(self) -> None:
        """Warn when this GPU has no fused kernels for the layers of this network."""
        why = self._why_plain(self.device)
        if why is not None:
            warnings.warn(
                f"the layers of {self.name} run on PyTorch's own operators: {why}", stacklevel=3
            )

    def embed(
        self, batch: plugin.ImageBatch, places: torch.Tensor, *, layer: int | None, patches: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the CLS rows, and patches."""
        if layer is not None:
            if not (1 <= layer <= self.depth or -self.depth <= layer <= -1):
                raise ValueError(
                    f"layer is {layer}, but {self.name} has the layers 1 to {self.depth}"
                )
            layer = layer if layer > 0 else self.depth + 1 + layer
        if not patches and self.device.type == "cuda" and torch.is_inference_mode_enabled():
            replayed = self._replay()(batch.planes, batch.counts, places, layer)
            if replayed is not None:
                return replayed, None
        return self.model(batch.planes, batch.counts, places, layer=layer, cls_only=not patches)

    def _replay(self) -> Replay:
        if self._recorded is None:
            self._recorded = Replay(self.model)
        return self._recorded

    def forward_attention(self, batch: plugin.ImageBatch) -> list[plugin.Attention]:
        """Return the attention between channels, for each image of a batch."""
        places = self.places(batch)
        rows, columns = (side // self.patch for side in batch.size)
        found = self.model.attention(batch.planes, batch.counts, places)
        return [plugin.Attention(mass, maps.unflatten(-1, (rows, columns))) for mass, maps in found]


def lower(model: ChAdaViT, dtype: torch.dtype) -> None:
    """Convert to half precision: the weight matrices, and with them the operands of products.

    Sums, norms, embeddings and the residual stream keep their type. With bfloat16, only queries,
    keys, values and attention weights are bfloat16, whose range they may need; matrices and their
    operands are float16, whose steps are eight times finer. This preserves the nearest neighbours
    of real images, which bfloat16 throughout does not.
    """
    attention = ("in_proj_weight", "out_proj.weight")
    names = ("token_learner.proj.weight", "linear1.weight", "linear2.weight", *attention)
    for name, parameter in model.named_parameters():
        if name.endswith(names):
            parameter.data = parameter.data.to(torch.float16)
    blocks: Any = model.blocks
    for block in blocks:
        block.attention_dtype = dtype


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> ChAdaViTEncoder:
    """Build from the record's options; filled from `weights`, or drawn by `seed` without."""
    if weights is not None or not spec.seeded:  # never an untrained network under a trained name
        return ChAdaViTEncoder(spec, model=filled(ChAdaViT, spec, weights))
    with torch.device("meta"):
        model = ChAdaViT(**spec.options)  # type: ignore[arg-type]
    model.to_empty(device="cpu")
    model.initialise(seed)
    return ChAdaViTEncoder(spec, model=model)
