"""Attention between channels against sums over the whole attention matrix."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from interpreted import interpreted, summarise_channels
from zoo.kernels import RaggedPlan, channel_attention

PATCHES = 7
COUNTS = {"one": [3], "mixed": [1, 4, 2], "equal": [2, 2], "single channel": [1]}


def batch(counts, heads=2, size=16, patches=PATCHES, dtype=torch.float32, seed=0):
    """Return packed rows, cumulative lengths and cumulative groups: CLS, then each channel."""
    lengths = [1 + c * patches for c in counts]
    draw = torch.Generator().manual_seed(seed)
    qkv = torch.randn(sum(lengths), 3, heads, size, dtype=torch.float64, generator=draw).to(dtype)
    groups = [size for c in counts for size in (1, *[patches] * c)]
    return qkv, cumulative(lengths), cumulative(groups)


def cumulative(lengths):
    return torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)


def whole_matrix(qkv, cu, groups, scale=None):
    """Form every (n, n) matrix in float64 and cut it at the groups."""
    q, k = qkv[:, 0].double().numpy(), qkv[:, 1].double().numpy()
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    mass, first = [], np.zeros(q.shape[:2])
    for a, b in zip(cu[:-1].tolist(), cu[1:].tolist(), strict=True):
        bounds = [g for g in groups.tolist() if a <= g <= b]
        squares = []
        for h in range(q.shape[1]):
            weights = np.exp(scale * q[a:b, h] @ k[a:b, h].T)
            weights /= weights.sum(1, keepdims=True)
            first[a:b, h] = weights[0]
            edges = [g - a for g in bounds]
            cut = [
                [weights[i:j, m:n].sum(1).mean() for m, n in pairwise(edges)]
                for i, j in pairwise(edges)
            ]
            squares.append(cut)
        mass.append(torch.tensor(np.array(squares)))
    return mass, torch.tensor(first)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["reference", "triton"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-6), (torch.float16, 1e-3), (torch.bfloat16, 8e-3)],  # eps of the type
)
@pytest.mark.parametrize("case", COUNTS)
def test_equals_sums_over_the_whole_matrix(backend, dtype, tolerance, case):
    qkv, cu, groups = batch(COUNTS[case], dtype=dtype)
    if backend == "triton":
        mass, first = interpreted(summarise_channels, qkv, cu, groups)
    else:
        found = channel_attention(qkv, cu, groups, backend=backend)
        mass, first = found.mass, found.first
    wanted, wanted_first = whole_matrix(qkv, cu, groups)
    for m, w in zip(mass, wanted, strict=True):
        torch.testing.assert_close(m.double(), w, rtol=0, atol=tolerance)
    torch.testing.assert_close(first.double(), wanted_first, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 64, 96])
def test_channels_longer_than_a_step_and_other_heads(size):
    qkv, cu, groups = batch([2, 1], size=size, patches=67, heads=1)
    mass, first = interpreted(summarise_channels, qkv, cu, groups)
    wanted, wanted_first = whole_matrix(qkv, cu, groups)
    for m, w in zip(mass, wanted, strict=True):
        torch.testing.assert_close(m.double(), w, rtol=0, atol=1e-6)  # float32, sums of 135
    torch.testing.assert_close(first.double(), wanted_first, rtol=0, atol=1e-6)


def test_rows_sum_to_one_and_chunks_change_nothing():
    qkv, cu, groups = batch([2], patches=300, dtype=torch.float64)  # longer than a chunk of queries
    found = channel_attention(qkv, cu, groups)
    torch.testing.assert_close(found.mass[0].sum(-1), torch.ones(2, 3, dtype=torch.float64))
    wanted, first = whole_matrix(qkv, cu, groups)
    torch.testing.assert_close(found.mass[0], wanted[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(found.first, first, rtol=0, atol=1e-12)


def test_an_empty_image_has_an_empty_matrix():
    qkv, _, _ = batch([1])
    rows = len(qkv)
    found = channel_attention(qkv, cumulative([0, rows, 0]), cumulative([1, rows - 1]))
    assert [m.shape for m in found.mass] == [(2, 0, 0), (2, 2, 2), (2, 0, 0)]


def test_the_scale_and_a_plan_are_taken():
    qkv, cu, groups = batch([1, 2])
    plan = RaggedPlan.from_cu_seqlens(cu, len(qkv))
    found = channel_attention(qkv, cu, groups, plan=plan, scale=0.9)
    wanted, _ = whole_matrix(qkv, cu, groups, scale=0.9)
    torch.testing.assert_close(found.mass[1].double(), wanted[1], rtol=0, atol=1e-6)


def test_nan_stays_in_its_image():
    qkv, cu, groups = batch([1, 2])
    clean = channel_attention(qkv, cu, groups)
    qkv[: int(cu[1])] = float("nan")
    found = channel_attention(qkv, cu, groups)
    assert found.mass[0].isnan().all()
    assert torch.equal(found.mass[1], clean.mass[1])


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([0, 1, 15, 20], ValueError, r"spans the images 0 and 1"),
        ([0, 1, 8, 8, 23], ValueError, "rise at every step"),
        ([1, 8, 23], ValueError, "from 0 to the number of rows, 23"),
        ([0, 8, 22], ValueError, "from 0 to the number of rows, 23"),
    ],
)
def test_groups_that_do_not_divide_the_images_are_refused(groups, error, message):
    qkv, cu, _ = batch([1, 2])
    if groups[-1] == 20:
        groups[-1] = 23
    with pytest.raises(error, match=message):
        channel_attention(qkv, cu, torch.tensor(groups, dtype=torch.int32))


def test_wrong_arguments_are_refused():
    qkv, cu, groups = batch([1, 2])
    with pytest.raises(TypeError, match="int32"):
        channel_attention(qkv, cu, groups.long())
    with pytest.raises(ValueError, match=r"'sdpa'.*triton, reference"):
        channel_attention(qkv, cu, groups, backend="sdpa")
    with pytest.raises(ValueError, match="NVIDIA GPU"):
        channel_attention(qkv, cu, groups, backend="triton")
    with pytest.raises(ValueError, match=r"\(T, 3, H, d\)"):
        channel_attention(qkv[:, :2], cu, groups)
