"""Random parameters of vision transformers, as they are drawn before training.

Linear weights, tokens, positions and channel embeddings are truncated normals of sd 0.02 and biases
of linear layers 0, as in the code of DINO and in timm; projections of patches are uniform within
1/√(inputs), as torch draws convolutions; norms are 1 and 0, and learned factors of residual
branches 1, so that the branches count.
"""

import torch
from torch import Tensor, nn


@torch.no_grad()
def draw_parameters(model: nn.Module, seed: int) -> None:
    """Draw all parameters of a network from a seed, on the CPU, in place."""
    draw = torch.Generator().manual_seed(seed)
    of_layers: set[str] = set()
    for name, layer in model.named_modules():
        own = [f"{name}.{part}".lstrip(".") for part, _ in layer.named_parameters(recurse=False)]
        if isinstance(layer, nn.LayerNorm):
            layer.weight.fill_(1)
            layer.bias.zero_()
        elif isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02, generator=draw)
            if layer.bias is not None:
                layer.bias.zero_()
        elif isinstance(layer, nn.Conv2d | nn.Conv3d):
            bound = layer.weight[0].numel() ** -0.5
            layer.weight.uniform_(-bound, bound, generator=draw)
            if layer.bias is not None:
                layer.bias.uniform_(-bound, bound, generator=draw)
        else:
            continue
        of_layers.update(own)
    for name, parameter in model.named_parameters():
        if name in of_layers:
            continue
        if name.endswith("gamma"):
            parameter.fill_(1)
        elif name.endswith("bias"):
            parameter.zero_()
        else:
            nn.init.trunc_normal_(parameter, std=0.02, generator=draw)


def sine_cosine(rows: int, columns: int, dim: int) -> Tensor:
    """Return fixed positions of a grid, `(rows · columns, D)`: sin h, cos h, sin w, cos w.

    Each is given at D / 4 frequencies, from 1 down to almost 1 / 10 000.
    """
    frequency = 10_000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    down = torch.arange(rows, dtype=torch.float64)[:, None] * frequency
    along = torch.arange(columns, dtype=torch.float64)[:, None] * frequency
    h = torch.cat([down.sin(), down.cos()], 1)[:, None].expand(-1, columns, -1)
    w = torch.cat([along.sin(), along.cos()], 1)[None].expand(rows, -1, -1)
    return torch.cat([h, w], 2).flatten(0, 1).float()
