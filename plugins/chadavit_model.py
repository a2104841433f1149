"""ChAda-ViT (Bourriez et al., CVPR 2024), ragged from the patches to the embedding.

Shapes: B images with C_i channels, P patches to a channel, T = sum of (1 + C_i · P) tokens,
D features, H heads.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo.kernels import RaggedPlan, channel_attention, ragged_attention

import zoo


class Attention(nn.Module):
    """Multi-head self-attention inside each image."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)

    def project(self, x: Tensor) -> Tensor:
        """Turn rows `(T, D)` into queries, keys and values, `(T, 3, H, D / H)`."""
        total, dim = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        return qkv.view(total, 3, self.heads, dim // self.heads)

    def forward(self, x: Tensor, plan: RaggedPlan, cls_only: bool) -> Tensor:
        """Mix the rows `(T, D)` of each image; all rows, or the CLS rows `(B, D)`."""
        qkv = self.project(x)
        mixed = ragged_attention(qkv, plan.cu_seqlens, plan=plan, first_only=cls_only)
        out: Tensor = self.out_proj(mixed.reshape(-1, x.shape[1]))
        return out


class Block(nn.Module):
    """One layer. It uses `norm1` twice, before attention and after it, unlike any standard one."""

    def __init__(self, dim: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.norm2 = nn.LayerNorm(dim, eps=eps)

    def forward(self, x: Tensor, plan: RaggedPlan, cls_only: bool = False) -> Tensor:
        """Map tokens `(T, D)` to tokens, or to the CLS rows `(B, D)` where nothing else is read."""
        attended = self.self_attn(self.norm1(x), plan, cls_only)
        if cls_only:
            x = x[plan.cu_seqlens[:-1].long()]
        x = self.norm1(x + attended)
        out: Tensor = self.norm2(x + self.linear2(F.relu(self.linear1(x), inplace=True)))
        return out


class TokenLearner(nn.Module):
    """One projection of patches, shared by all channels."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, kernel_size=patch, stride=patch)

    def forward(self, planes: Tensor) -> Tensor:
        """Turn planes `(N, H, W)` into patches `(N, P, D)`, row-major."""
        patch = self.proj.kernel_size[0]
        n, height, width = planes.shape
        cut = planes.view(n, height // patch, patch, width // patch, patch).transpose(2, 3)
        return F.linear(
            cut.reshape(n, -1, patch * patch), self.proj.weight.flatten(1), self.proj.bias
        )  # (N, P, D)


class ChAdaViT(nn.Module):
    """The network; tensor names are those of the published checkpoint."""

    def __init__(
        self,
        *,
        depth: int,
        embed_dim: int,
        num_heads: int,
        patch_size: int,
        img_size: int,
        max_number_channels: int,
        hidden_dim: int,
        layer_norm_eps: float,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.grid = img_size // patch_size
        self.token_learner = TokenLearner(embed_dim, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.channel_token = nn.Parameter(torch.zeros(1, max_number_channels, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1, 1 + self.grid**2, embed_dim))
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, hidden_dim, layer_norm_eps) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=layer_norm_eps)

    def forward(
        self,
        planes: Tensor,
        counts: Tensor,
        places: Tensor,
        *,
        layer: int | None = None,
        cls_only: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return CLS rows and patch rows after a layer.

        Parameters
        ----------
        planes
            `(sum of C_i, H, W)`.
        counts
            Channels of each image, `(B,)`, on the CPU.
        places
            Row of the channel embedding for each plane, `(sum of C_i,)`.
        layer
            Number of layers to run; all by default.
        cls_only
            Leave out what only the patch rows of the last layer would need.

        Returns
        -------
        tuple of Tensor
            `(B, D)` and `(sum of C_i, P, D)` or None, after the final norm.
        """
        x, plan, patch_rows = self.tokens(planes, counts, places)
        *body, last = self.blocks[:layer]
        for block in body:
            x = block(x, plan)
        x = self.norm(last(x, plan, cls_only))
        if cls_only:
            return x, None
        n, p = patch_rows.shape
        return x[plan.cu_seqlens[:-1].long()], x[patch_rows.flatten()].view(n, p, -1)

    def tokens(
        self, planes: Tensor, counts: Tensor, places: Tensor
    ) -> tuple[Tensor, RaggedPlan, Tensor]:
        """Return packed tokens `(T, D)`, their layout, and the rows of each plane `(N, P)`."""
        patches = self.token_learner(planes)  # (N, P, D)
        patches = patches + self.position(planes.shape[1:]) + self.channel_token[0, places]
        n, p, dim = patches.shape

        plan = RaggedPlan.from_lengths((1 + counts * p).tolist(), planes.device)
        image = torch.repeat_interleave(torch.arange(len(counts)), counts)
        first = (torch.arange(n) * p + image + 1).to(planes.device)  # one CLS row an image
        patch_rows = first[:, None] + torch.arange(p, device=planes.device)  # (N, P)

        x = patches.new_empty(n * p + len(counts), dim)  # (T, D)
        cls = (self.cls_token + self.pos_embed[..., 0, :])[0, 0]
        x[plan.cu_seqlens[:-1].long()] = cls.to(x.dtype)
        x[patch_rows.flatten()] = patches.reshape(n * p, dim)
        return x, plan, patch_rows

    def attention(
        self, planes: Tensor, counts: Tensor, places: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return for each image how attention flows in each of the L layers.

        Returns
        -------
        list of tuple of Tensor
            `(L, H, C + 1, C + 1)` from channel to channel, CLS first, and `(L, H, C, P)` from CLS
            to the patches of each channel.
        """
        x, plan, patch_rows = self.tokens(planes, counts, places)
        cls_rows = plan.cu_seqlens[:-1]
        starts = torch.cat([cls_rows, patch_rows[:, 0].int()]).sort().values
        groups = torch.cat([starts, plan.cu_seqlens[-1:]])
        layers = []
        blocks: Any = self.blocks
        for block in blocks:
            qkv = block.self_attn.project(block.norm1(x))
            layers.append(channel_attention(qkv, plan.cu_seqlens, groups, plan=plan))
            x = block(x, plan)
        mass = [torch.stack(squares) for squares in zip(*(a.mass for a in layers), strict=True)]
        first = torch.stack([a.first[patch_rows] for a in layers])  # (L, N, P, H)
        maps = first.permute(0, 3, 1, 2).split(counts.tolist(), dim=2)
        return list(zip(mass, maps, strict=True))

    def position(self, size: torch.Size) -> Tensor:
        """Patch positions for images of this size, `(P, D)`."""
        rows, columns = (side // self.patch_size for side in size)
        stored = self.pos_embed[0, 0, 1:]  # (grid · grid, D)
        if (rows, columns) == (self.grid, self.grid):
            return stored
        square = stored.view(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        # The 0.1 of the original enters the coordinates and changes values, so no `size=` here.
        factors = [(rows + 0.1) / self.grid, (columns + 0.1) / self.grid]
        resampled = F.interpolate(square.float(), scale_factor=factors, mode="bicubic")
        return resampled.flatten(2)[0].T.to(stored.dtype)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all parameters anew, on the CPU, so that a seed means the same everywhere.

        Tokens and linear weights are truncated normals of sd 0.02, the joint projection of
        attention is Xavier-uniform, the patch projection uniform in ±1/patch size, biases are 0.
        """
        draw = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            elif name.endswith("in_proj_weight"):
                nn.init.xavier_uniform_(parameter, generator=draw)
            elif name == "token_learner.proj.weight":
                parameter.uniform_(-1 / self.patch_size, 1 / self.patch_size, generator=draw)
            else:
                nn.init.trunc_normal_(parameter, std=0.02, generator=draw)


class ChAdaViTEncoder(zoo.Encoder):
    """The network behind the zoo's door."""

    can_give = frozenset({"attention", "channels", "tokens", "layer"})
    uses_channel_index = True
    model: ChAdaViT

    def forward(
        self,
        batch: zoo.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> zoo.Features:
        """Embed a batch; the embedding is the CLS row, a channel's is the mean of its patches."""
        self._check_size(batch.size)
        depth, places = len(self.model.blocks), self._places(batch)
        if layer is not None:
            if not (1 <= layer <= depth or -depth <= layer <= -1):
                raise ValueError(f"layer is {layer}, but {self.name} has the layers 1 to {depth}")
            layer = layer if layer > 0 else depth + 1 + layer
        cls, patches = self.model(
            batch.planes, batch.counts, places, layer=layer, cls_only=not (channels or tokens)
        )
        if patches is None:
            return zoo.Features(cls, batch.counts)
        offsets = torch.cat([batch.counts.new_zeros(1), batch.counts.cumsum(0)]) * patches.shape[1]
        return zoo.Features(
            cls,
            batch.counts,
            patches.mean(1) if channels else None,
            patches.flatten(0, 1) if tokens else None,
            offsets if tokens else None,
        )

    def forward_attention(self, batch: zoo.ImageBatch) -> list[zoo.Attention]:
        """Read out the attention between channels, for each image of a batch."""
        self._check_size(batch.size)
        rows, columns = (side // self.model.patch_size for side in batch.size)
        found = self.model.attention(batch.planes, batch.counts, self._places(batch))
        return [zoo.Attention(mass, maps.unflatten(-1, (rows, columns))) for mass, maps in found]

    def _check_size(self, size: tuple[int, int]) -> None:
        patch = self.model.patch_size
        if size[0] % patch or size[1] % patch:
            raise zoo.ImageError(
                f"images are {size[0]} × {size[1]} pixels, but {self.name} cuts patches of "
                f"{patch} × {patch}: crop or pad to multiples of {patch}, or let encode prepare "
                "them with preprocess=True"
            )

    def _places(self, batch: zoo.ImageBatch) -> torch.Tensor:
        known = self.model.channel_token.shape[1]
        if batch.channel_index is None:
            places = torch.cat([torch.arange(c) for c in batch.counts.tolist()])
        else:
            places = batch.channel_index
        if int(places.min()) < 0 or int(places.max()) >= known:
            raise zoo.ImageError(
                f"channel_index must lie in 0 to {known - 1} for {self.name}, but goes from "
                f"{int(places.min())} to {int(places.max())}"
            )
        return places.to(batch.planes.device)


def build(spec: zoo.EncoderSpec, *, weights: Path | None, seed: int) -> ChAdaViTEncoder:
    """Build from the record's options; filled from `weights`, or drawn by `seed` without."""
    if weights is None and not spec.seeded:  # never an untrained network under a trained name
        raise zoo.WeightsNotFoundError(f"{spec.name} was to be built without its weights")
    with torch.device("meta"):
        model = ChAdaViT(**spec.options)  # type: ignore[arg-type]
    if weights is None:
        model.to_empty(device="cpu")
        model.initialise(seed)
    else:
        zoo.load_state(model, weights)
    return ChAdaViTEncoder(spec, model=model)
