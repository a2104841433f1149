"""ChAda-ViT as an encoder: half precision, choice of layers, CUDA graphs, checks of images."""

import warnings
from pathlib import Path
from typing import Any

import torch
from zoo.kernels import residual_mlp

from zoo import plugin

from .chadavit_model import ChAdaViT
from .chadavit_replay import Replay


class ChAdaViTEncoder(plugin.Encoder):
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
        self._check_size(batch.size)
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
        offsets = torch.cat([batch.counts.new_zeros(1), batch.counts.cumsum(0)]) * patches.shape[1]
        return plugin.Features(
            cls,
            batch.counts,
            patches.mean(1) if channels else None,
            patches.flatten(0, 1) if tokens else None,
            offsets if tokens else None,
        )

    def _replay(self) -> Replay:
        if self._recorded is None:
            self._recorded = Replay(self.model)
        return self._recorded

    def forward_attention(self, batch: plugin.ImageBatch) -> list[plugin.Attention]:
        """Return the attention between channels, for each image of a batch."""
        self._check_size(batch.size)
        rows, columns = (side // self.model.patch_size for side in batch.size)
        found = self.model.attention(batch.planes, batch.counts, self._places(batch))
        return [plugin.Attention(mass, maps.unflatten(-1, (rows, columns))) for mass, maps in found]

    def count_tokens(self, channels: int, size: tuple[int, int]) -> int:
        """Return the tokens of an image: a CLS token, and those of the patches."""
        patch = self.model.patch_size
        return 1 + channels * (size[0] // patch) * (size[1] // patch)

    def _check_size(self, size: tuple[int, int]) -> None:
        patch = self.model.patch_size
        if size[0] % patch or size[1] % patch:
            raise plugin.ImageError(
                f"images are {size[0]} × {size[1]} pixels, but {self.name} cuts patches of "
                f"{patch} × {patch}: crop or pad to multiples of {patch}, or let encode prepare "
                "them with preprocess=True"
            )

    def _places(self, batch: plugin.ImageBatch) -> torch.Tensor:
        known = self.model.channel_token.shape[1]
        if batch.channel_index is None:
            places = torch.cat([torch.arange(c) for c in batch.counts.tolist()])
        else:
            places = batch.channel_index
        if int(places.min()) < 0 or int(places.max()) >= known:
            raise plugin.ImageError(
                f"channel_index must lie in 0 to {known - 1} for {self.name}, but goes from "
                f"{int(places.min())} to {int(places.max())}"
            )
        return places


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
    if weights is None and not spec.seeded:  # never an untrained network under a trained name
        raise plugin.WeightsNotFoundError(f"{spec.name} was to be built without its weights")
    with torch.device("meta"):
        model = ChAdaViT(**spec.options)  # type: ignore[arg-type]
    if weights is None:
        model.to_empty(device="cpu")
        model.initialise(seed)
    else:
        plugin.load_state(model, weights)
    return ChAdaViTEncoder(spec, model=model)
