"""ChAda-ViT as an encoder: half precision, choice of layers, CUDA graphs, checks of images."""

import warnings
from pathlib import Path
from typing import Any

import torch
from zoo.kernels import residual_mlp

from zoo import plugin

from .chadavit_model import ChAdaViT
from .chadavit_replay import Replay
from .packed_vit import check_patches, features, filled, places_of


class ChAdaViTEncoder(plugin.Encoder):
    """Runs `ChAdaViT` on batches; small batches on a GPU run as CUDA graphs."""

    outputs = frozenset({"attention", "channels", "tokens", "layer"})
    differentiable = True
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

    def _warn_of_plain_layers(self) -> None:
        """Warn when this GPU has no fused kernels for the layers of this network."""
        block: Any = self.model.blocks[0]
        none = block.norm1.weight.new_empty((0, block.norm1.weight.shape[0]))
        try:
            residual_mlp(none, none, block.weights(), backend="triton")
        except ValueError as error:
            warnings.warn(
                f"the layers of {self.name} run on PyTorch's own operators: {error}", stacklevel=3
            )

    def forward(
        self,
        batch: plugin.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> plugin.Features:
        """Embed a batch; the embedding is the CLS row, a channel's is the mean of its patches."""
        check_patches(batch.size, self.model.patch_size, self.name)
        depth, places = len(self.model.blocks), self._places(batch)
        if layer is not None:
            if not (1 <= layer <= depth or -depth <= layer <= -1):
                raise ValueError(f"layer is {layer}, but {self.name} has the layers 1 to {depth}")
            layer = layer if layer > 0 else depth + 1 + layer
        cls_only = not (channels or tokens)
        if cls_only and self.device.type == "cuda" and torch.is_inference_mode_enabled():
            replayed = self._replay()(batch.planes, batch.counts, places, layer)
            if replayed is not None:
                return plugin.Features(replayed, batch.counts)
        cls, patches = self.model(
            batch.planes, batch.counts, places, layer=layer, cls_only=cls_only
        )
        if patches is None:
            return plugin.Features(cls, batch.counts)
        means = patches.mean(1) if channels else None
        return features(cls, batch.counts, patches, channels=means, tokens=tokens)

    def _places(self, batch: plugin.ImageBatch) -> torch.Tensor:
        return places_of(batch, self.model.channel_token.shape[1], self.name)

    def _replay(self) -> Replay:
        if self._recorded is None:
            self._recorded = Replay(self.model)
        return self._recorded

    def forward_attention(self, batch: plugin.ImageBatch) -> list[plugin.Attention]:
        """Return the attention between channels, for each image of a batch."""
        check_patches(batch.size, self.model.patch_size, self.name)
        rows, columns = (side // self.model.patch_size for side in batch.size)
        found = self.model.attention(batch.planes, batch.counts, self._places(batch))
        return [plugin.Attention(mass, maps.unflatten(-1, (rows, columns))) for mass, maps in found]

    def count_tokens(self, channels: int, size: tuple[int, int]) -> int:
        """Return the tokens of an image: a CLS token, and those of the patches."""
        patch = self.model.patch_size
        return 1 + channels * (size[0] // patch) * (size[1] // patch)


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
