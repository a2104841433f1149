"""Attention within each image against a naive loop in float64."""

import math

import numpy as np
import pytest
import torch
from zoo.kernels import BACKENDS, RaggedPlan, ragged_attention

ON_CPU = tuple(b for b in BACKENDS if b != "triton")  # which test_interpreted.py checks

LENGTHS = {
    "one": [5],
    "equal": [4, 4, 4],
    "mixed": [1, 7, 3, 7, 2],
    "with empty": [0, 3, 0, 5, 0],
    "equal but apart": [3, 9, 3, 9],
}


def packed(lengths, heads=2, size=8, dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)
    qkv = torch.randn(sum(lengths), 3, heads, size, dtype=dtype, generator=draw)
    return qkv, torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)


def naive(qkv, lengths, scale):
    """Softmax attention written out row by row."""
    qkv, out, start = qkv.double().numpy(), [], 0
    for n in lengths:
        for i in range(start, start + n):
            row = []
            for h in range(qkv.shape[2]):
                scores = [scale * qkv[i, 0, h] @ qkv[j, 1, h] for j in range(start, start + n)]
                weights = [math.exp(s - max(scores)) for s in scores]
                values = [
                    w * qkv[j, 2, h] for w, j in zip(weights, range(start, start + n), strict=True)
                ]
                row.append(sum(values) / sum(weights))
            out.append(row)
        start += n
    return torch.tensor(np.array(out))


@pytest.mark.parametrize("backend", [None, *ON_CPU])
@pytest.mark.parametrize("case", LENGTHS)
def test_equals_a_naive_loop(backend, case):
    qkv, cu = packed(LENGTHS[case])
    found = ragged_attention(qkv, cu, backend=backend)
    torch.testing.assert_close(found, naive(qkv, LENGTHS[case], 8**-0.5), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("case", LENGTHS)
def test_the_first_rows_alone_are_the_first_rows_of_all(backend, case):
    qkv, cu = packed(LENGTHS[case])
    found = ragged_attention(qkv, cu, first_only=True, backend=backend)
    every = naive(qkv, LENGTHS[case], 8**-0.5)
    for i, length in enumerate(LENGTHS[case]):
        wanted = every[cu[i]] if length else torch.zeros(2, 8, dtype=torch.float64)
        torch.testing.assert_close(found[i], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ON_CPU)
def test_the_scale_can_be_given(backend):
    qkv, cu = packed([3, 4])
    found = ragged_attention(qkv, cu, scale=0.1, backend=backend)
    torch.testing.assert_close(found, naive(qkv, [3, 4], 0.1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_low_precision_is_as_good_as_plain_pytorch_allows(backend, dtype):
    qkv, cu = packed([9, 30, 9], heads=3, size=16, dtype=dtype)
    found = ragged_attention(qkv, cu, backend=backend)
    assert found.dtype == dtype
    # Twice the rounding of the inputs' type on values of order one.
    tolerance = 2 * torch.finfo(dtype).eps
    expected = naive(qkv, [9, 30, 9], 0.25)
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", ON_CPU)
def test_nan_stays_in_its_image(backend):
    qkv, cu = packed([4, 6, 4])
    clean = ragged_attention(qkv, cu, backend=backend)
    qkv[4] = float("nan")
    found = ragged_attention(qkv, cu, backend=backend)
    assert found[4:10].isnan().all()
    torch.testing.assert_close(found[:4], clean[:4], rtol=0, atol=1e-12)
    torch.testing.assert_close(found[10:], clean[10:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ON_CPU)
def test_gradients_are_right(backend):
    lengths = [2, 1, 3, 2]
    qkv, cu = packed(lengths, heads=1, size=2)
    qkv.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ragged_attention(x, cu, backend=backend), (qkv,))


@pytest.mark.parametrize("backend", ON_CPU)
def test_no_rows_give_no_rows(backend):
    qkv, cu = packed([])
    assert ragged_attention(qkv, cu, backend=backend).shape == (0, 2, 8)


def test_a_plan_is_the_same_as_none():
    qkv, cu = packed(LENGTHS["mixed"])
    plan = RaggedPlan.from_lengths(LENGTHS["mixed"])
    torch.testing.assert_close(plan.cu_seqlens, cu)
    assert torch.equal(ragged_attention(qkv, cu, plan=plan), ragged_attention(qkv, cu))


def test_a_strided_view_is_fine():
    qkv, cu = packed([3, 5])
    wide = torch.stack([qkv, qkv], dim=-1)[..., 0]
    assert not wide.is_contiguous()
    torch.testing.assert_close(ragged_attention(wide, cu), ragged_attention(qkv, cu))


def cumulative(values, dtype=torch.int32):
    return torch.tensor(values, dtype=dtype)


@pytest.mark.parametrize(
    ("cu", "error", "message"),
    [
        (cumulative([1, 5]), ValueError, "begins with 1"),
        (cumulative([0, 4]), ValueError, "ends with 4"),
        (cumulative([0, 6]), ValueError, "ends with 6"),
        (cumulative([0, 4, 2, 5]), ValueError, "decreases"),
        (cumulative([0, 5], torch.int64), TypeError, "int32"),
        (cumulative([[0, 5]]), ValueError, "shape"),
        (cumulative([0, 5]).to("meta"), ValueError, "meta"),
    ],
)
def test_a_wrong_layout_is_refused(cu, error, message):
    qkv, _ = packed([5])
    with pytest.raises(error, match=message):
        ragged_attention(qkv, cu)


def test_wrong_arguments_are_refused():
    qkv, cu = packed([5])
    with pytest.raises(ValueError, match=r"\(T, 3, H, d\)"):
        ragged_attention(qkv[:, :2], cu)
    with pytest.raises(TypeError, match="floating"):
        ragged_attention(qkv.long(), cu)
    with pytest.raises(ValueError, match=r"'cuda-magic'.*sdpa"):
        ragged_attention(qkv, cu, backend="cuda-magic")
    with pytest.raises(ValueError, match="-1"):
        RaggedPlan.from_lengths([3, -1])
