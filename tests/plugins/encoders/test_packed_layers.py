"""Layers on packed tokens against timm's on each image alone, and against the formula."""

from functools import partial

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import Block as TimmBlock
from torch import nn
from zoo.kernels import RaggedPlan
from zoo.plugins.encoders import packed_layers
from zoo.plugins.encoders.packed_layers import MLP, Block, LayerScale, ScaledBlock, SwiGLU, by_rows

import zoo

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


@pytest.mark.parametrize("at_once", [4, 1024])
@pytest.mark.parametrize("scaled", [False, True])
def test_blocks_are_those_of_timm_on_each_image_alone(rows, scaled, at_once, monkeypatch):
    monkeypatch.setattr(packed_layers, "ROWS", at_once)
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
        block = Block(DIM, HEADS, MLP(DIM, HIDDEN), EPS)
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


def test_rows_go_a_thousand_at_a_time_where_no_gradient_is_kept():
    seen = []

    def double(rows, others):
        seen.append((len(rows), len(others)))
        return 2 * rows + others

    rows = torch.arange(2100.0)[:, None]
    with torch.no_grad():
        assert torch.equal(by_rows(double, rows, rows), 3 * rows)
    assert seen == [(1024, 1024), (1024, 1024), (52, 52)]
    seen.clear()
    assert torch.equal(by_rows(double, rows, rows), 3 * rows)
    assert seen == [(2100, 2100)]


@pytest.mark.parametrize("checkpoint", ["openphenom", "channelvit", "morphem", "celldino-bag"])
def test_networks_do_not_depend_on_how_many_rows_go_at_once(golden, checkpoint, monkeypatch):
    folder = golden.parent / f"{checkpoint}-tiny"
    encoder = zoo.load(f"{checkpoint.partition('-')[0]}:{folder}", device="cpu")
    image = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    wanted = encoder.encode([image], preprocess=False).embedding
    monkeypatch.setattr(packed_layers, "ROWS", 5)
    found = encoder.encode([image], preprocess=False).embedding
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
