"""Layers on packed tokens against timm's on each image alone, and against the formula."""

from functools import partial

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import Block as TimmBlock
from torch import nn
from zoo.kernels import RaggedPlan
from zoo.plugins.encoders.packed_vit import MLP, Block, LayerScale, ScaledBlock, SwiGLU

LENGTHS = (5, 1, 17, 5, 9)
DIM, HEADS, HIDDEN, EPS = 24, 3, 40, 1e-4
# float64 on both sides: what is left is the order of additions.
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def drawn(module, seed=0):
    draw = torch.Generator().manual_seed(seed)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) / 3)
    return module.eval()


@pytest.fixture
def rows():
    draw = torch.Generator().manual_seed(1)
    return torch.randn(sum(LENGTHS), DIM, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("scaled", [False, True])
def test_blocks_are_those_of_timm_on_each_image_alone(rows, scaled):
    other = TimmBlock(
        DIM,
        HEADS,
        mlp_ratio=HIDDEN / DIM,
        qkv_bias=True,
        init_values=1.0 if scaled else None,
        norm_layer=partial(nn.LayerNorm, eps=EPS),
    )
    other = drawn(other)
    if scaled:
        block = ScaledBlock(DIM, HEADS, MLP(DIM, HIDDEN), EPS)
    else:
        block = Block(DIM, HEADS, HIDDEN, EPS)
    block = block.double().eval()
    block.load_state_dict(other.state_dict(), strict=True)
    plan = RaggedPlan.from_lengths(LENGTHS)
    with torch.no_grad():
        found = block(rows, plan)
        wanted = torch.cat([other(image[None])[0] for image in rows.split(LENGTHS)])
    torch.testing.assert_close(found, wanted, **EXACT)


def test_swiglu_is_its_formula(rows):
    """SwiGLU(x) = (silu(x W + b) * (x V + c)) U + d, with silu(z) = z / (1 + exp(-z))."""
    layer = drawn(SwiGLU(DIM, HIDDEN))
    inner = 32  # two thirds of 40, 26.7, cut to 26 and rounded up to a multiple of 8
    assert layer.w3.weight.shape == (DIM, inner)
    w, b = (p.detach().numpy() for p in (layer.w12.weight, layer.w12.bias))
    u, d = (p.detach().numpy() for p in (layer.w3.weight, layer.w3.bias))
    x = rows.numpy()
    gate, value = x @ w[:inner].T + b[:inner], x @ w[inner:].T + b[inner:]
    wanted = (gate / (1 + np.exp(-gate)) * value) @ u.T + d
    np.testing.assert_allclose(layer(rows).detach().numpy(), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("hidden", "inner"), [(48, 32), (49, 32), (50, 40), (4096, 2736)])
def test_the_width_of_swiglu_is_rounded_up(hidden, inner):
    with torch.device("meta"):
        assert SwiGLU(DIM, hidden).w12.weight.shape == (2 * inner, DIM)


def test_layer_scale_starts_at_one_and_multiplies_each_feature(rows):
    scale = LayerScale(DIM).double()
    assert torch.equal(scale(rows), rows)
    with torch.no_grad():
        scale.gamma.copy_(torch.arange(DIM))
    assert torch.equal(scale(rows)[:, 3], 3 * rows[:, 3])
