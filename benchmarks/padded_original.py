"""ChAda-ViT with padding, as its authors run it: the tests' oracle and the benchmarks' rival.

Written from the description of Bourriez et al. (CVPR 2024), with the checkpoint's tensor names.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


@contextmanager
def fast_path(enabled: bool) -> Iterator[None]:
    """Switch the fast path of `nn.MultiheadAttention` on or off, for the whole process.

    Notes
    -----
    PyTorch takes the fast path only in eval mode without gradients, and with a padding mask it
    writes out the whole (batch, heads, tokens, tokens) score matrix. Switched off, the same
    module goes through `scaled_dot_product_attention`. The previous setting comes back on exit.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class Block(nn.Module):
    """One encoder layer, which applies `norm1` both before and after the attention."""

    def __init__(self, dim: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.norm1 = nn.LayerNorm(dim, eps)
        self.norm2 = nn.LayerNorm(dim, eps)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        a = self.norm1(x)
        attended, _ = self.self_attn(a, a, a, key_padding_mask=padding, need_weights=False)
        x = self.norm1(x + attended)
        out: Tensor = self.norm2(x + self.linear2(F.relu(self.linear1(x))))
        return out


class PaddedChAdaViT(nn.Module):
    """ChAda-ViT that pads every image to `max_number_channels` channels."""

    def __init__(
        self,
        depth: int = 12,
        embed_dim: int = 192,
        num_heads: int = 12,
        patch_size: int = 16,
        img_size: int = 224,
        max_number_channels: int = 10,
        hidden: int = 2048,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.side = img_size // patch_size
        self.max_channels = max_number_channels
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        self.channel_token = nn.Parameter(torch.empty(1, max_number_channels, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1, 1 + self.side**2, embed_dim))
        for parameter in (self.cls_token, self.channel_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)
        # A dict only because the checkpoint calls the convolution `token_learner.proj`.
        self.token_learner = nn.ModuleDict(
            {"proj": nn.Conv2d(1, embed_dim, patch_size, stride=patch_size)}
        )
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, hidden, eps) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps)

    @classmethod
    def from_folder(cls, path: str | Path, eps: float = 1e-5) -> "PaddedChAdaViT":
        """Load `config.json` and `model.safetensors`, in eval mode.

        Parameters
        ----------
        eps
            LayerNorm epsilon, which neither file records.
        """
        folder = Path(path)
        config = json.loads((folder / "config.json").read_text())
        tensors = load_file(folder / "model.safetensors")
        names = ("depth", "embed_dim", "num_heads", "patch_size", "max_number_channels")
        model = cls(
            **{name: config[name] for name in names},
            img_size=config["img_size"][0],
            hidden=tensors["blocks.0.linear1.weight"].shape[0],
            eps=eps,
        )
        model.load_state_dict(tensors, strict=True)
        return model.eval()

    def patch_positions(self, rows: int, columns: int) -> Tensor:
        """Position embeddings of a rows x columns grid of patches, (rows * columns, D)."""
        positions = self.pos_embed[0, 0, 1:]
        if rows == columns == self.side:
            return positions
        grid = positions.T.reshape(1, -1, self.side, self.side)
        # The 0.1 is part of the model: it shifts the sampled points, so a size would not do.
        scale = ((rows + 0.1) / self.side, (columns + 0.1) / self.side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        return grid[0].flatten(1).T

    def forward(self, planes: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Embed images given as one stack of channel planes.

        Parameters
        ----------
        planes
            (sum of counts, H, W), the channels of the first image, then of the second, ...
        counts
            Number of channels of each image.

        Returns
        -------
        tuple[Tensor, Tensor]
            CLS embeddings (images, D), and the patch tokens of the real channels, packed in the
            order of `planes`, (sum of counts * patches, D).
        """
        if sum(counts) != len(planes) or not 1 <= min(counts) <= max(counts) <= self.max_channels:
            raise ValueError(f"{len(planes)} planes do not make images of {list(counts)} channels")
        patches = self.token_learner["proj"](planes[:, None])
        rows, columns = patches.shape[-2:]
        patches = patches.flatten(2).transpose(1, 2) + self.patch_positions(rows, columns)
        places = torch.arange(self.max_channels, device=planes.device)
        real = places < torch.tensor(counts, device=planes.device)[:, None]
        images, channels = real.nonzero(as_tuple=True)
        padded = patches.new_zeros(*real.shape, *patches.shape[1:])
        padded[images, channels] = patches + self.channel_token[0, channels]

        cls = (self.cls_token + self.pos_embed[:, 0, :1]).expand(len(counts), -1, -1)
        x = torch.cat([cls, padded.flatten(1, 2)], dim=1)
        padding = F.pad(~real.repeat_interleave(rows * columns, dim=1), (1, 0), value=False)
        for block in self.blocks:
            x = block(x, padding)
        x = self.norm(x)
        return x[:, 0], x[:, 1:][~padding[:, 1:]]
