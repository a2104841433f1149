"""The parts of a layer around its attention, and packing, against their definitions in float64.

The Triton kernels run in Triton's interpreter, which cuts bfloat16 off where a GPU rounds it.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo.kernels import (
    LayerWeights,
    RaggedPlan,
    TokenLayout,
    norm_qkv,
    pack_tokens,
    ragged_attention,
    residual_mlp,
)

try:
    import interpreted as worker
    from interpreted import interpreted

    HAS_TRITON = True
except ModuleNotFoundError:
    HAS_TRITON = False

needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="Triton is for Linux")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ROWS = (1, 16, 63, 64, 65, 150)


def normal(*shape, seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)


def layer(dim=32, hidden=64, dtype=torch.float32, rest=torch.float32, seed=0):
    """Weights of a layer that lie away from initial values; `dtype` is that of the matrices."""
    draws = iter(range(100 * seed, 100 * seed + 100))

    def draw(*shape, scale=1.0, centre=0.0):
        kind = dtype if len(shape) == 2 else rest
        return (centre + scale * normal(*shape, seed=next(draws), dtype=torch.float64)).to(kind)

    return [
        *(draw(3 * dim, dim, scale=dim**-0.5), draw(3 * dim, scale=0.3)),
        *(draw(dim, dim, scale=dim**-0.5), draw(dim, scale=0.3)),
        *(draw(dim, scale=0.3, centre=1), draw(dim, scale=0.3)),
        *(draw(hidden, dim, scale=dim**-0.5), draw(hidden, scale=0.3)),
        *(draw(dim, hidden, scale=hidden**-0.5), draw(dim, scale=0.3)),
        *(draw(dim, scale=0.3, centre=1), draw(dim, scale=0.3)),
        1e-5,
    ]


def doubled(tensors):
    return [t.detach().double() if isinstance(t, torch.Tensor) else t for t in tensors]


def projected(x, weights):
    """What `norm_qkv` is to compute, by PyTorch's own modules in float64."""
    w = LayerWeights(*weights)
    a = F.layer_norm(x, x.shape[1:], w.norm1_weight, w.norm1_bias, w.eps)
    return a @ w.qkv_weight.T + w.qkv_bias


def finished(x, mixed, weights):
    """What `residual_mlp` is to compute, by PyTorch's own modules in float64."""
    w = LayerWeights(*weights)
    y = x + mixed @ w.out_weight.T + w.out_bias
    y = F.layer_norm(y, x.shape[1:], w.norm1_weight, w.norm1_bias, w.eps)
    z = y + torch.relu(y @ w.up_weight.T + w.up_bias) @ w.down_weight.T + w.down_bias
    return F.layer_norm(z, x.shape[1:], w.norm2_weight, w.norm2_bias, w.eps)


def by_autograd(function, inputs, read):
    leaves = [t.requires_grad_() for t in inputs]
    out = function(*leaves)
    return out.detach(), list(torch.autograd.grad(out, leaves, read.double()))


def error(found, wanted):
    """Error in proportion to what is wanted, by norm; NaN counts as infinite."""
    unlike = (found.double() - wanted).nan_to_num(torch.inf)
    return (unlike.norm() / (wanted.norm() or 1.0)).item()


ROUNDINGS = {torch.float64: 8, torch.float32: 8, torch.float16: 1, torch.bfloat16: 2}


def assert_close(found, wanted, plain, dtype):
    """Compare errors with those of PyTorch's own operators in the same type.

    Twice as large they may be, for sums in another order, and one rounding more, for where those
    happen to be exact; two for bfloat16, which the interpreter cuts off.
    """
    floor = ROUNDINGS[dtype] * torch.finfo(dtype).eps
    for place, (one, exact, other) in enumerate(zip(found, wanted, plain, strict=True)):
        assert error(one, exact) <= 2 * error(other, exact) + floor, place


def projection_case(rows, dim, dtype):
    weights = layer(dim, dtype=dtype)
    x, read = normal(rows, dim, seed=1), normal(rows, 3 * dim, seed=2, dtype=dtype)
    exact = doubled(weights)

    def whole(x, gain, offset, weight, bias):
        return projected(x, [weight, bias, *exact[2:4], gain, offset, *exact[6:]])

    inputs = [x.double(), exact[4], exact[5], exact[0], exact[1]]
    return weights, x, read, by_autograd(whole, inputs, read)


def finishing_case(rows, dim, hidden, dtype):
    weights = layer(dim, hidden, dtype=dtype)
    if dtype != torch.float32:
        # Every unit clearly on or off: where rounding switches one, gradients differ at will.
        weights[7] = torch.tensor([6.0, -6.0]).repeat(hidden // 2)
    x, mixed = normal(rows, dim, seed=1), normal(rows, dim, seed=3, dtype=dtype)
    read = normal(rows, dim, seed=2)
    exact = doubled(weights)

    def whole(x, mixed, *rest):
        return finished(x, mixed, [*exact[:2], *rest, exact[-1]])

    inputs = [x.double(), mixed.double(), *exact[2:-1]]
    return weights, x, mixed, read, by_autograd(whole, inputs, read)


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [32, 64, 96, 192])
def test_projections_and_their_gradients_are_right(dim, dtype):
    for rows in ROWS if dim == 32 else (65,):
        weights, x, read, (wanted, grads) = projection_case(rows, dim, dtype)
        found, found_grads = interpreted(worker.project, x, weights, read, "triton")
        plain, plain_grads = worker.project(x, weights, read, "torch")
        assert found.dtype == dtype
        assert_close([found, *found_grads], [wanted, *grads], [plain, *plain_grads], dtype)


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("dim", "hidden"), [(64, 64), (32, 128), (96, 64), (192, 128)])
def test_finished_layers_and_their_gradients_are_right(dim, hidden, dtype):
    for rows in ROWS if dim == 32 else (65,):
        weights, x, mixed, read, (wanted, grads) = finishing_case(rows, dim, hidden, dtype)
        found, found_grads = interpreted(worker.finish, x, mixed, weights, read, "triton")
        plain, plain_grads = worker.finish(x, mixed, weights, read, "torch")
        assert found.dtype == x.dtype
        assert_close([found, *found_grads], [wanted, *grads], [plain, *plain_grads], dtype)


@pytest.mark.parametrize("dtype", [torch.float64, *DTYPES])
def test_the_plain_forms_are_right_too(dtype):
    limit = 8 * torch.finfo(dtype).eps
    weights = layer(32, dtype=dtype, rest=torch.promote_types(dtype, torch.float32))
    x = normal(70, 32, seed=1, dtype=torch.promote_types(dtype, torch.float32))
    mixed = normal(70, 32, seed=3, dtype=dtype)
    exact = doubled(weights)
    found = norm_qkv(x, LayerWeights(*weights), backend="torch")
    assert error(found, projected(x.double(), exact)) <= limit
    found = residual_mlp(x, mixed, LayerWeights(*weights), backend="torch")
    assert error(found, finished(x.double(), mixed.double(), exact)) <= limit


def test_the_plain_forms_have_their_numerical_gradients():
    weights = [t.requires_grad_() for t in layer(4, 6, torch.float64, torch.float64)[:-1]]
    x = normal(3, 4, seed=1, dtype=torch.float64).requires_grad_()
    mixed = normal(3, 4, seed=3, dtype=torch.float64).requires_grad_()

    def both(x, mixed, *weights):
        own = LayerWeights(*weights, 1e-5)
        return norm_qkv(x, own), residual_mlp(x, mixed, own)

    assert torch.autograd.gradcheck(both, (x, mixed, *weights))


@pytest.mark.slow
@needs_triton
def test_queries_that_nobody_reads_are_not_computed():
    weights, x, _, (wanted, _) = projection_case(70, 32, torch.float32)
    rows = torch.tensor([0, 31, 69])
    for backend in ("triton", "torch"):
        found = interpreted(worker.project_some, x, weights, rows, backend)
        assert error(found[:, 32:], wanted[:, 32:]) < 1e-6
        assert error(found[rows, :32], wanted[rows, :32]) < 1e-6


@pytest.mark.parametrize("onednn", [True, False])
def test_linear_layers_of_a_cpu_do_what_follows_them(monkeypatch, onednn):
    from zoo.kernels import _cpu_linear as cpu

    if not onednn:
        monkeypatch.setattr(cpu, "_LINEAR", None)
    elif cpu._LINEAR is None:
        pytest.skip("PyTorch was built without oneDNN")
    weights = LayerWeights(*layer(32, 64))
    up, down = (weights.up_weight, weights.up_bias), (weights.down_weight, weights.down_bias)
    for x in (normal(70, 32), normal(70, 64)[:, ::2], normal(0, 32)):
        kept = x.clone()
        wanted = x.double() @ up[0].double().T + up[1].double()
        assert error(cpu.linear(x, *up), wanted) < 1e-6
        assert error(cpu.linear_relu(x, *up), wanted.relu()) < 1e-6
        hidden = wanted.relu().float()
        wanted = hidden.double() @ down[0].double().T + down[1].double() + x.double()
        assert error(cpu.linear_add(hidden, *down, x), wanted) < 1e-6
        assert torch.equal(x, kept)


def test_chunks_of_the_hidden_activations_change_nothing(monkeypatch):
    from zoo.kernels import _fused_layer

    weights, x, mixed, _, (wanted, _) = finishing_case(70, 32, 64, torch.float32)
    monkeypatch.setattr(_fused_layer, "HIDDEN_AT_ONCE", 64 * 9)
    with torch.no_grad():
        assert error(residual_mlp(x, mixed, LayerWeights(*weights)), wanted) < 1e-6


def test_plain_packing_is_right():
    planes, parts, read, (wanted, grads) = packing_case((6, 12, 20), 4)
    found, found_grads = worker.pack(planes, COUNTS, PLACES, parts, 4, read, "torch")
    for one, exact in zip([found, *found_grads], [wanted, *grads], strict=True):
        assert error(one, exact) < 1e-6


@pytest.mark.slow
@needs_triton
def test_rows_are_the_same_bits_whatever_else_is_there():
    weights, x, mixed, read, _ = finishing_case(150, 32, 64, torch.float32)
    out, _ = interpreted(worker.finish, x, mixed, weights, read, "triton")
    part, _ = interpreted(worker.finish, x[100:], mixed[100:], weights, read[100:], "triton")
    assert torch.equal(out[100:], part)


@pytest.mark.slow
@needs_triton
def test_nan_stays_in_its_row():
    weights, x, mixed, read, _ = finishing_case(70, 32, 64, torch.float32)
    x[3, 5] = torch.nan
    for function, given in ((worker.finish, (x, mixed)), (worker.project, (x,))):
        wide = read if function is worker.finish else read.repeat(1, 3)
        out, _ = interpreted(function, *given, weights, wide, "triton")
        assert out[3].isnan().all()
        assert out[torch.arange(70) != 3].isfinite().all()


@pytest.mark.slow
@needs_triton
def test_operators_keep_pytorchs_rules():
    interpreted(worker.check_layer_operators)


def test_autocast_lowers_matrices_and_nothing_else():
    weights, x, mixed, _, (wanted, _) = finishing_case(40, 32, 64, torch.float32)
    layer_weights = LayerWeights(*weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert norm_qkv(x, layer_weights).dtype == torch.bfloat16
        out = residual_mlp(x, mixed, layer_weights)
    assert out.dtype == torch.float32
    assert 1e-4 < error(out, wanted) < 2e-2


def test_what_does_not_fit_is_said():
    weights, x, mixed, _, _ = finishing_case(5, 32, 64, torch.float32)
    own = LayerWeights(*weights)
    with pytest.raises(ValueError, match="the rows have 31 features"):
        norm_qkv(x[:, :31], own)
    with pytest.raises(ValueError, match=r"rows \(5, 32\) and attention \(4, 32\) do not fit"):
        residual_mlp(x, mixed[:4], own)
    with pytest.raises(ValueError, match="backend is 'cuda'"):
        norm_qkv(x, own, backend="cuda")
    wide = LayerWeights(*layer(256, 512))
    with pytest.raises(ValueError, match="cannot be taken: it takes 32, 64, 96, 128, 192 features"):
        norm_qkv(normal(3, 256), wide, backend="triton")
    odd = LayerWeights(*layer(32, 100))
    with pytest.raises(ValueError, match="cannot be taken: it takes a multiple of 64 hidden units"):
        residual_mlp(x, mixed, odd, backend="triton")
    with pytest.raises(ValueError, match="cannot be taken: it takes weights in bfloat16"):
        residual_mlp(x, mixed, own, backend="triton")


# Packing.

COUNTS, PLACES = [2, 1, 3], [0, 1, 4, 2, 0, 1]


def embeddings(patches, dim=32, pixels=16, dtype=torch.float32):
    return {
        "weight": (0.3 * normal(dim, pixels, seed=1)).to(dtype),
        "bias": normal(dim, seed=2),
        "position": normal(patches, dim, seed=3),
        "channel": normal(5, dim, seed=4),
        "first": normal(dim, seed=5),
    }


def packed(planes, counts, places, weight, bias, position, channel, first, patch):
    """Token after token, in float64, by PyTorch's own convolution."""
    filters = weight.view(len(weight), 1, patch, patch)
    rows, at = [], 0
    for count in counts:
        rows.append(first[None])
        for plane in range(at, at + count):
            tokens = F.conv2d(planes[plane][None, None], filters, bias, stride=patch)
            rows.append(tokens[0].flatten(1).T + position + channel[places[plane]])
        at += count
    return torch.cat(rows)


def packing_case(shape, patch, dtype=torch.float32):
    patches = shape[1] // patch * (shape[2] // patch)
    parts = embeddings(patches, pixels=patch * patch, dtype=dtype)
    planes = normal(*shape, seed=6)
    read = normal(len(COUNTS) + shape[0] * patches, 32, seed=7)

    def whole(planes, *parts):
        return packed(planes, COUNTS, PLACES, *parts, patch)

    inputs = [planes.double(), *(p.double() for p in parts.values())]
    return planes, parts, read, by_autograd(whole, inputs, read)


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "patch"), [((6, 8, 8), 4), ((6, 12, 20), 4), ((6, 14, 7), 7), ((6, 32, 16), 16)]
)
def test_packed_tokens_and_their_gradients_are_right(shape, patch, dtype):
    planes, parts, read, (wanted, grads) = packing_case(shape, patch, dtype)
    given = (COUNTS, PLACES, parts, patch, read)
    found, found_grads = interpreted(worker.pack, planes, *given, "triton")
    plain, plain_grads = worker.pack(planes, *given, "torch")
    assert found.dtype == torch.float32
    assert_close([found, *found_grads], [wanted, *grads], [plain, *plain_grads], dtype)


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("backend", ["triton", "torch"])
def test_planes_may_lie_in_memory_as_they_like(backend):
    planes, parts, read, (wanted, grads) = packing_case((6, 12, 20), 4)
    crop = torch.zeros(6, 30, 41)
    crop[:, 3:15, 1:21] = planes
    views = {
        "transposed": planes.transpose(1, 2).contiguous().transpose(1, 2),
        "channels last": planes.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        "crop": crop[:, 3:15, 1:21],
        "half": planes.half(),
    }
    for name, view in views.items():
        assert name == "half" or not view.is_contiguous()
        out, found = interpreted(worker.pack, view, COUNTS, PLACES, parts, 4, read, backend)
        limit = 2e-3 if name == "half" else 1e-6
        assert error(out, wanted) < limit, name
        assert error(found[0], grads[0]) < limit, name


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("backend", ["triton", "torch"])
def test_a_layout_with_room_for_more_leaves_the_rest_alone(backend):
    planes, parts, read, (wanted, grads) = packing_case((6, 8, 8), 4)
    room = torch.cat([planes, torch.full((3, 8, 8), torch.nan)])
    rows = 9 * 5
    more = torch.cat([read, torch.zeros(rows - len(read), 32)])
    out, found = interpreted(worker.pack, room, COUNTS, PLACES, parts, 4, more, backend, room=9)
    assert len(out) == rows
    assert error(out[: len(wanted)], wanted) < 1e-6
    assert error(found[0][:6], grads[0]) < 1e-6
    for name, one, exact in zip(parts, found[2:], grads[2:], strict=False):
        assert error(one, exact) < 1e-5, name


def test_layouts_say_where_tokens_lie():
    layout = TokenLayout.from_counts(COUNTS, PLACES, 4)
    assert layout.rows == 3 + 6 * 4
    assert layout.first_rows.tolist() == [0, 9, 14]
    assert layout.planes.tolist() == [[1, 0], [5, 1], [10, 4], [15, 2], [19, 0], [23, 1]]
    assert layout.plan.lengths == (9, 5, 13)
    every = torch.cat([layout.first_rows, layout.patch_rows().flatten()])
    assert sorted(every.tolist()) == list(range(layout.rows))


def test_layouts_of_one_room_take_each_others_place():
    room = TokenLayout.from_counts(COUNTS, PLACES, 4, room=8)
    other = TokenLayout.from_counts([8], range(8), 4, room=8)
    same = TokenLayout.from_counts(COUNTS, PLACES, 4, room=8).copy_(other)
    assert same.planes.equal(other.planes)
    assert same.first_rows.equal(other.first_rows)
    assert (same.images, same.channels) == (1, 8)
    assert same.plan.lengths == other.plan.lengths
    with pytest.raises(ValueError, match="have room for 9 planes"):
        room.copy_(TokenLayout.from_counts([1], [0], 4, room=9))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": [1, 0]}, "an image has 0 channels"),
        ({"places": [0]}, "there are 1 places for 2 planes"),
        ({"room": 1}, "2 planes do not fit into a room for 1"),
    ],
)
def test_layouts_refuse_what_does_not_fit(change, message):
    given = {"counts": [1, 1], "places": [0, 0]} | change
    with pytest.raises(ValueError, match=message):
        TokenLayout.from_counts(patches=4, **given)


def test_packing_refuses_what_does_not_fit():
    planes, parts, _, _ = packing_case((6, 8, 8), 4)
    layout = TokenLayout.from_counts(COUNTS, PLACES, 4)

    def run(planes=planes, layout=layout, **changes):
        return pack_tokens(planes, layout, **parts | changes, patch=4)

    with pytest.raises(ValueError, match=r"planes of 8 × 9 pixels cannot be cut"):
        run(F.pad(planes, (0, 1)))
    with pytest.raises(ValueError, match=r"planes of 8 × 12 pixels have 6 patches"):
        run(F.pad(planes, (0, 4)))
    with pytest.raises(ValueError, match="there are 5 planes, but the layout is for 6"):
        run(planes[:5])
    with pytest.raises(ValueError, match=r"not \(N, H, W\)"):
        run(planes[0])
    with pytest.raises(TypeError, match=r"planes are torch.uint8, but must be floating"):
        run(planes.to(torch.uint8))
    with pytest.raises(ValueError, match="planes are on cpu, but the layout on meta"):
        run(layout=TokenLayout.from_counts(COUNTS, PLACES, 4, "meta"))


def test_a_layer_is_that_of_pytorch_with_the_first_norm_used_twice():
    """Beside `nn.MultiheadAttention`, so that attention and both parts fit together."""
    weights = LayerWeights(*layer(32, dtype=torch.float64, rest=torch.float64))
    lengths = [5, 9]
    x = normal(14, 32, seed=1, dtype=torch.float64)
    attention = nn.MultiheadAttention(32, 2, batch_first=True, dtype=torch.float64)
    attention.load_state_dict(
        {
            "in_proj_weight": weights.qkv_weight,
            "in_proj_bias": weights.qkv_bias,
            "out_proj.weight": torch.eye(32),
            "out_proj.bias": torch.zeros(32),
        }
    )
    plan = RaggedPlan.from_lengths(lengths)
    qkv = norm_qkv(x, weights).view(14, 3, 2, 16)
    mixed = ragged_attention(qkv, plan.cu_seqlens, plan=plan).flatten(1)
    a = F.layer_norm(x, (32,), weights.norm1_weight, weights.norm1_bias, weights.eps)
    alone = [attention(part[None], part[None], part[None])[0][0] for part in a.split(lengths)]
    torch.testing.assert_close(mixed, torch.cat(alone))
    found = residual_mlp(x, mixed, weights)
    torch.testing.assert_close(found, finished(x, mixed, weights))


@pytest.mark.parametrize("few", [False, True])
def test_the_compiler_of_pytorch_takes_the_path_of_a_cpu(few):
    """oneDNN's fused layers have no shapes to trace, and are left to the compiler."""
    weights, x, mixed = layer(), normal(70, 32), normal(70, 32, seed=1)
    rows = torch.tensor([0, 40]) if few else None

    def both(x, mixed, *tensors):
        weights = LayerWeights(*tensors, 1e-5)
        return norm_qkv(x, weights, query_rows=rows), residual_mlp(x, mixed, weights)

    compiled = torch.compile(both, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        found, wanted = compiled(x, mixed, *weights[:-1]), both(x, mixed, *weights[:-1])
    kept = slice(None) if rows is None else rows
    torch.testing.assert_close(found[0][:, 32:], wanted[0][:, 32:])
    torch.testing.assert_close(found[0][kept, :32], wanted[0][kept, :32])
    torch.testing.assert_close(found[1], wanted[1])
