"""ChAda-ViT without padding the simple way: images of one length together, PyTorch's attention."""

from collections.abc import Callable, Sequence

import torch
from padded_original import Block, PaddedChAdaViT
from torch import Tensor
from torch.nn import functional as F

Layers = Callable[[Tensor], Tensor]


class BucketedChAdaViT(PaddedChAdaViT):
    """The same parameters; dense batches of equal channel counts, no mask.

    `compiled` compiles the layers for all lengths at once.
    """

    def __init__(self, *, compiled: bool = False) -> None:
        super().__init__()
        self.run: Layers = self._layers
        if compiled:
            self.run = torch.compile(self._layers, dynamic=True)

    def forward(self, planes: Tensor, counts: Sequence[int]) -> Tensor:
        """Embed images; CLS embeddings `(images, D)`."""
        starts = [sum(counts[:i]) for i in range(len(counts))]
        result = planes.new_empty(len(counts), self.pos_embed.shape[-1])
        for count in sorted(set(counts)):
            members = [i for i, c in enumerate(counts) if c == count]
            rows = [starts[i] + k for i in members for k in range(count)]
            result[members] = self.run(self._tokens(planes[rows], len(members), count))
        return result

    def _tokens(self, planes: Tensor, images: int, count: int) -> Tensor:
        patches = self.token_learner["proj"](planes[:, None])
        grid = patches.shape[-2:]
        patches = patches.flatten(2).transpose(1, 2) + self.patch_positions(*grid)
        patches = patches.unflatten(0, (images, count)) + self.channel_token[:, :count]
        cls = (self.cls_token + self.pos_embed[:, 0, :1]).expand(images, -1, -1)
        return torch.cat([cls, patches.flatten(1, 2)], dim=1)

    def _layers(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = _layer(block, x)
        return self.norm(x[:, 0])


def _layer(block: Block, x: Tensor) -> Tensor:
    attention = block.self_attn
    a = block.norm1(x)
    qkv = F.linear(a, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = block.norm1(x + attention.out_proj(mixed))
    return block.norm2(x + block.linear2(F.relu(block.linear1(x))))
