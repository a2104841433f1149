"""The Triton kernels, through Triton's interpreter, against definitions in float64.

The interpreter follows IEEE arithmetic but for two things: bfloat16 is stored by cutting bits off,
not by rounding, and products of TF32 are those of float32.
"""

import math
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux")
import interpreted as worker
from interpreted import attend, interpreted
from safetensors.torch import load_file
from zoo.kernels import _ragged_attention_op as op
from zoo.kernels import ragged_attention

pytestmark = pytest.mark.slow
SIZES = (16, 32, 64, 96)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
INF, NAN = math.inf, math.nan
FLOAT32 = torch.finfo(torch.float32).eps

# Around one row, the tail of 16, the steps of 16, 32 and 64, and the tile of 128.
EDGES = [1, 15, 0, 16, 17, 32, 33, 64, 65, 0, 127, 128, 129]
BATCHES = {
    "one image": [40],
    "equal": [20, 20, 20],
    "empty ones between": [0, 3, 0, 0, 70, 0],
    "many": [1, 5, 2, 9, 3, 1, 8, 20],
    "three tiles": [5, 260],
}


def normal(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def packed(lengths, heads=1, size=16, dtype=torch.float32, seed=0):
    return normal(sum(lengths), 3, heads, size, dtype=dtype, seed=seed)


def given(lengths, qkv, first_only=False):
    """Gradients of output and log-sum-exp."""
    rows, (_, _, heads, size) = len(lengths) if first_only else sum(lengths), qkv.shape
    return normal(rows, heads, size, dtype=qkv.dtype, seed=1), normal(rows, heads, seed=2)


def definition(
    qkv, lengths, grad_out=None, grad_lse=None, *, scale=None, first_only=False, dtype=None
):
    """Attention over the whole batch under a mask, and its gradient by autograd."""
    scale = qkv.shape[-1] ** -0.5 if scale is None else scale
    leaf = qkv.detach().to(dtype or torch.float64).requires_grad_()
    q, k, v = leaf.unbind(1)
    image = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    scores = scale * torch.einsum("ihd,jhd->hij", q, k)
    scores = scores.masked_fill(image[:, None] != image, -INF)
    out = torch.einsum("hij,jhd->ihd", scores.softmax(-1), v)
    lse = scores.logsumexp(-1).T
    if first_only:
        starts = [sum(lengths[:i]) if n else len(out) for i, n in enumerate(lengths)]
        out = torch.cat([out, torch.zeros_like(out[:1])])[starts]
        lse = torch.cat([lse, torch.full_like(lse[:1], -INF)])[starts]
    loss = 0.0
    if grad_out is not None:
        loss = loss + (out * grad_out.to(out.dtype)).sum()
    if grad_lse is not None:
        read = lse.isfinite()
        loss = loss + (lse[read] * grad_lse.to(lse.dtype)[read]).sum()
    if isinstance(loss, torch.Tensor):
        loss.backward()
    return out.detach(), lse.detach(), leaf.grad


def one_by_one(qkv, lengths, grad_out, grad_lse):
    """`definition`, but for each image by itself, so that NaN in one stays there."""
    parts = [t.split(lengths) for t in (qkv, grad_out, grad_lse)]
    results = [definition(x, [len(x)], g, s) for x, g, s in zip(*parts, strict=True)]
    return tuple(torch.cat(part) for part in zip(*results, strict=True))


def error(found, wanted):
    """Largest error in units of the largest value."""
    if not wanted.numel():
        return 0.0
    unlike = found.double() - wanted
    unlike[found == wanted] = 0.0  # infinities
    scale = wanted[wanted.isfinite()].abs().max().item()
    return unlike.abs().max().item() / (scale or 1.0)


def errors(found, wanted):
    """Errors of output, log-sum-exp, and gradients of queries, keys and values."""
    (out, lse, grad), (exact, exact_lse, exact_grad) = found, wanted
    grads = zip("qkv", grad.unbind(1), exact_grad.unbind(1), strict=True)
    return {
        "out": error(out, exact),
        "lse": error(lse, exact_lse),
        **{name: error(g, e) for name, g, e in grads},
    }


def assert_as_good_as_plain_pytorch(found, qkv, lengths, *grads, **options):
    """Compare errors with those of the same formulas in the same type.

    Twice as large they may be, for sums in another order. Beside, for where the plain formulas
    happen to be exact, comes one rounding of what is stored, and one more for bfloat16, which the
    interpreter cuts off. In float32 it is eight: gradients are differences of larger terms, which
    half precision rounds less than it rounds the result.
    """
    dtype = qkv.dtype
    exact = definition(qkv, lengths, *grads, **options)
    plain = definition(qkv, lengths, *grads, **options, dtype=dtype)
    wanted, reached = errors(plain, exact), errors(found, exact)
    roundings = {torch.float32: 8, torch.float16: 1, torch.bfloat16: 2}[dtype]
    floor = roundings * torch.finfo(dtype).eps
    for name, value in reached.items():
        assert value <= 2 * wanted[name] + floor, (name, value, wanted[name])


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize(
    ("dtype", "size"),
    [*((DTYPES[0], size) for size in SIZES), *((one, s) for one in DTYPES[1:] for s in (16, 96))],
)
def test_outputs_and_gradients_are_right_at_every_edge(dtype, size, first_only):
    qkv = packed(EDGES, size=size, dtype=dtype)
    grads = given(EDGES, qkv, first_only)
    found = interpreted(attend, qkv, EDGES, *grads, first_only=first_only)
    assert found[0].dtype == found[2].dtype == dtype
    assert found[1].dtype == torch.float32
    assert_as_good_as_plain_pytorch(found, qkv, EDGES, *grads, first_only=first_only)


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_tiles_of_tf32_are_right_at_every_edge(size, first_only):
    qkv = packed(EDGES, size=size)
    grads = given(EDGES, qkv, first_only)
    found = interpreted(attend, qkv, EDGES, *grads, first_only=first_only, tf32=True)
    assert_as_good_as_plain_pytorch(found, qkv, EDGES, *grads, first_only=first_only)


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
def test_outputs_and_gradients_are_right_for_every_kind_of_batch(batch, dtype, first_only):
    lengths = BATCHES[batch]
    qkv = packed(lengths, heads=2, size=32, dtype=dtype)
    grads = given(lengths, qkv, first_only)
    found = interpreted(attend, qkv, lengths, *grads, first_only=first_only)
    assert_as_good_as_plain_pytorch(found, qkv, lengths, *grads, first_only=first_only)


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_a_row_by_itself_is_its_value(size, first_only):
    qkv = packed([1, 1], heads=2, size=size)
    grads = given([1, 1], qkv)
    out, lse, grad = interpreted(attend, qkv, [1, 1], *grads, first_only=first_only)
    # One rounding of the score and some of the sums over the head.
    close = {"rtol": 0, "atol": 8 * FLOAT32}
    torch.testing.assert_close(out, qkv[:, 2], **close)
    q, k, _ = qkv.unbind(1)
    torch.testing.assert_close(lse, size**-0.5 * (q * k).sum(-1), **close)
    torch.testing.assert_close(grad[:, 2], grads[0], **close)
    for mine, other in zip(grad[:, :2].unbind(1), (k, q), strict=True):
        wanted = size**-0.5 * grads[1][..., None] * other
        torch.testing.assert_close(mine, wanted, rtol=0, atol=32 * FLOAT32)


@pytest.mark.parametrize("scale", [0.0, -0.7, 1e-3, 2.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_scale_can_be_anything(dtype, scale):
    lengths = [5, 70]
    qkv = packed(lengths, heads=2, dtype=dtype)
    grads = given(lengths, qkv)
    found = interpreted(attend, qkv, lengths, *grads, scale=scale)
    assert_as_good_as_plain_pytorch(found, qkv, lengths, *grads, scale=scale)


def test_tf32_means_nothing_to_half_precision():
    qkv = packed([5, 70], dtype=torch.float16)
    one, other = (interpreted(attend, qkv, [5, 70], tf32=tf32) for tf32 in (False, True))
    assert torch.equal(one[0], other[0])


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_no_rows_give_no_rows(lengths, first_only):
    qkv = packed(lengths, heads=2)
    grads = given(lengths, qkv, first_only)
    out, lse, grad = interpreted(attend, qkv, lengths, *grads, first_only=first_only)
    rows = len(lengths) if first_only else 0
    assert torch.equal(out, torch.zeros(rows, 2, 16))
    assert torch.equal(lse, torch.full((rows, 2), -INF))
    assert grad.shape == qkv.shape


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("which", ["out", "lse"])
def test_a_gradient_may_come_through_one_of_the_results_alone(which, first_only):
    lengths = [3, 0, 40]
    qkv = packed(lengths, heads=2)
    grad_out, grad_lse = given(lengths, qkv, first_only)
    grads = (grad_out, None) if which == "out" else (None, grad_lse)
    found = interpreted(attend, qkv, lengths, *grads, first_only=first_only)
    assert_as_good_as_plain_pytorch(found, qkv, lengths, *grads, first_only=first_only)


def test_a_gradient_may_have_any_strides():
    lengths = [3, 40]
    qkv = packed(lengths, heads=2)
    ones = torch.ones(43, 2, 16), torch.ones(43, 2)
    found = interpreted(worker.attend_with_a_summed_loss, qkv, lengths)
    assert torch.equal(found, interpreted(attend, qkv, lengths, *ones)[2])
    grad_out, grad_lse = given(lengths, qkv)
    turned = grad_out.mT.contiguous().mT, grad_lse.T.contiguous().T
    assert not turned[0].is_contiguous()
    assert not turned[1].is_contiguous()
    found, wanted = (interpreted(attend, qkv, lengths, *g) for g in (turned, (grad_out, grad_lse)))
    assert torch.equal(found[2], wanted[2])


def test_a_second_derivative_is_refused():
    with pytest.raises(RuntimeError, match="no autograd formula"):
        interpreted(worker.differentiate_twice, packed([5]), [5])


def parts_of(results, lengths, first_only):
    """Results for each image."""
    out, lse, grad = results
    rows = [1] * len(lengths) if first_only else lengths
    return list(zip(out.split(rows), lse.split(rows), grad.split(lengths), strict=True))


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float32, 32), (torch.float16, 16), (torch.bfloat16, 96)]
)
def test_an_image_is_the_same_to_the_bit_in_any_batch(dtype, size, first_only):
    lengths = [5, 130, 17, 64]
    every = packed(lengths, size=size, dtype=dtype)
    rows = [1] * len(lengths) if first_only else lengths
    grads = [g.split(rows) for g in given(lengths, every, first_only)]

    def run(order, others=None):
        images = list(every.split(lengths))
        if others is not None:
            for i in (0, 3):
                images[i] = torch.full_like(images[i], others)
        tensors = (torch.cat([parts[i] for i in order]) for parts in (images, *grads))
        picked = [lengths[i] for i in order]
        results = interpreted(attend, next(tensors), picked, *tensors, first_only=first_only)
        return dict(zip(order, parts_of(results, picked, first_only), strict=True))

    alone = {i: run([i])[i] for i in (1, 2)}
    batches = [
        run([1]),
        run([0, 1, 2, 3]),
        run([3, 2, 1, 0], others=torch.finfo(dtype).max),
        run([2, 0, 3, 1], others=NAN),
    ]
    for batch, found in enumerate(batches):
        for i in found.keys() & alone.keys():
            assert all(map(torch.equal, found[i], alone[i])), (batch, i)


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("filler", [0.0, NAN])
def test_room_in_a_plan_changes_no_bit(filler, first_only):
    lengths = [5, 0, 130, 17]
    qkv = packed(lengths, heads=2)
    grads = given(lengths, qkv, first_only)
    wanted = interpreted(attend, qkv, lengths, *grads, first_only=first_only)
    room = {"rows": 400, "images": 6}
    sequences = 6 + 4  # and as many fillers as 400 rows could ever make
    roomy = torch.cat([qkv, torch.full((400 - len(qkv), 3, 2, 16), filler)])
    rows = sequences if first_only else 400
    padded = [torch.cat([g, torch.zeros(rows - len(g), *g.shape[1:])]) for g in grads]
    found = interpreted(attend, roomy, lengths, *padded, first_only=first_only, room=room)
    assert len(found[0]) == len(found[1]) == rows
    for mine, theirs in zip(found, wanted, strict=True):
        assert torch.equal(mine[: len(theirs)], theirs)


def scored(scores, size, dtype):
    """Queries and keys whose scores are these, with the sign changed for every second query."""
    n = len(scores)
    qkv = packed([n], size=size, dtype=dtype)
    qkv[:, :2] = 0
    qkv[:, 0, :, 0] = torch.tensor([1.0, -1.0]).repeat(n)[:n, None]
    qkv[:, 1, :, 0] = torch.as_tensor(scores).to(dtype)[:, None]
    return qkv


def one_at(place, value, others=0.0, n=100):
    scores = torch.full((n,), others)
    scores[place] = value
    return scores


SCORES = {
    "an outlier at the start": one_at(0, 1e4),
    "an outlier before the tail": one_at(63, 1e4),
    "an outlier in the tail": one_at(70, 1e4),
    "an outlier at the end": one_at(99, 1e4),
    "just within float16": one_at(3, 10.0),
    "just beyond float16": one_at(3, 18.0),
    "just within the trusted sums": one_at(3, 44.0),
    "just beyond the trusted sums": one_at(3, 45.0),
    "beyond float32": one_at(3, 100.0),
    "a low tail": one_at(slice(64, None), -1e4),
    "a high tail": one_at(slice(64, None), 1e4),
    "all 0": torch.zeros(100),
    "all 10000": torch.full((100,), 1e4),
    "up": torch.linspace(-1e4, 1e4, 100),
    "up by little": torch.linspace(-12, 12, 100),
    "down by little": torch.linspace(12, -12, 100),
    "two levels": torch.tensor([0.0, 40.0]).repeat(50),
    "wide": 3e3 * normal(100),
    "several tiles": one_at(130, 300.0, n=270),
}


@pytest.mark.parametrize(
    ("dtype", "size"),  # in half precision row sums come from products for the smaller heads
    [(torch.float32, 16), (torch.float16, 16), (torch.float16, 64), (torch.bfloat16, 32)],
)
@pytest.mark.parametrize("case", SCORES)
def test_scores_may_be_anywhere(case, dtype, size):
    qkv = scored(SCORES[case], size, dtype)
    n = len(qkv)
    grads = given([n], qkv)
    found = interpreted(attend, qkv, [n], *grads, scale=1.0)
    exact = definition(qkv, [n], *grads, scale=1.0)
    # Base-2 scores in float32 are rounded by this much, and so, in proportion, is every weight.
    rounding = 2 * qkv[:, 1].abs().max().item() * FLOAT32
    # Gradients cancel where one key has all the weight: what counts are the terms that add up.
    term = (grads[0].norm(dim=-1).max() * qkv[:, 2].norm(dim=-1).max()).item()
    term += grads[1].abs().max().item()
    units = {
        "out": qkv[:, 2].abs().max().item(),
        "lse": 1.0,
        "q": term * max(1.0, qkv[:, 1].abs().max().item()),
        "k": max(term, exact[2][:, 1].abs().max().item()),
        "v": exact[2][:, 2].abs().max().item(),
    }
    results = (*found[:2], *found[2].unbind(1))
    wanted = (*exact[:2], *exact[2].unbind(1))
    for (name, unit), mine, right in zip(units.items(), results, wanted, strict=True):
        unlike = (mine.double() - right).abs().max().item()
        assert unlike <= (torch.finfo(dtype).eps + rounding) * unit, (name, unlike / unit)


@pytest.mark.parametrize("place", [0, 70, 79])
@pytest.mark.parametrize(("dtype", "size"), [*[(d, 16) for d in DTYPES], (torch.float16, 64)])
def test_scores_may_be_as_large_as_the_type_allows(dtype, size, place):
    largest = 6e4 if dtype == torch.float16 else 1e19
    scores = torch.linspace(-largest, largest, 80).roll(place - 79)
    images = []
    # All queries of an image are the same, so that none can make the tile start over for another.
    for query in torch.linspace(0.8 * largest, largest, 12).tolist():
        images.append(scored(scores, size, dtype))
        images[-1][:, 0, :, 0] = query
    qkv, lengths = torch.cat(images), [80] * 12
    found = interpreted(attend, qkv, lengths, scale=1.0)
    # Neighbouring keys differ by so much that one has all the weight.
    for out, lse, image in zip(found[0].split(80), found[1].split(80), images, strict=True):
        assert torch.equal(out, image[place, 2].expand_as(out))
        largest_score = image[0, 0, 0, 0].double() * image[place, 1, 0, 0].double()
        torch.testing.assert_close(
            lse.double() / largest_score, torch.ones_like(lse).double(), rtol=0, atol=4 * FLOAT32
        )


@pytest.mark.parametrize("size", [16, 64])
def test_many_faint_keys_count_in_float16(size):
    """Together they weigh a hundredth of the last key, which the row is anchored to."""
    n = 2000
    qkv = scored(one_at(-1, 0.0, others=-17.5 * math.log(2), n=n), size, torch.float16)
    qkv[:, 0, :, 0] = 1
    qkv[:, 2] = 1
    qkv[-1, 2] = -1
    found = interpreted(attend, qkv, [n], scale=1.0, first_only=True)
    exact = definition(qkv, [n], scale=1.0, first_only=True)
    plain = definition(qkv, [n], scale=1.0, first_only=True, dtype=torch.float16)
    floor = torch.finfo(torch.float16).eps  # for where plain happens to be exact
    assert error(found[0], exact[0]) <= 2 * error(plain[0], exact[0]) + floor
    # The row sum adds rounded probabilities: its logarithm is as good as they are.
    assert (found[1] - exact[1]).abs().max() <= floor


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("finite", [0, 40, -1])
def test_scores_that_overflow_weigh_nothing(dtype, finite):
    qkv = scored(one_at(finite, 0.0, others=-1e30, n=81), 16, dtype)
    qkv[:, 0, :, 0] = 1e30
    found = interpreted(attend, qkv, [81], scale=1.0)
    assert torch.equal(found[0], qkv[finite, 2].expand(81, 1, 16))
    assert torch.equal(found[1], torch.zeros(81, 1))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (torch.float16, torch.finfo(torch.float16).max),
        # Sums of 130 unnormalised terms must fit into float32, as in any fused attention.
        (torch.bfloat16, 2.0**120),
        (torch.float32, 2.0**120),
        (torch.float32, 1e-30),
        (torch.bfloat16, 1e-30),
        (torch.float16, 2.0**-14),
    ],
)
def test_values_may_be_large_and_small(dtype, value):
    qkv = packed([130, 40], size=32)
    qkv[:, 2] = value * (qkv[:, 2] / qkv[:, 2].abs().max())
    qkv = qkv.to(dtype)
    found, exact = interpreted(attend, qkv, [130, 40]), definition(qkv, [130, 40])
    # Twice the rounding of what is stored, and in float32 of the sums.
    assert error(found[0], exact[0]) <= 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_values_are_their_own_mean(dtype):
    qkv = packed([129, 3], dtype=dtype)
    qkv[:, 2] = 1.0
    out, _, _ = interpreted(attend, qkv, [129, 3])
    # The same weights are added up twice, in two orders.
    atol = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(out, torch.ones_like(out), rtol=0, atol=atol)


HARM = {
    "a query": (10, 0, 0, 3),
    "the first query": (0, 0, 0, 3),
    "a key": (10, 1, 0, 3),
    "the last key": (-1, 1, 0, 3),
    "a value": (10, 2, 0, 3),
    "the last value": (-1, 2, 0, 3),
}


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("harm", HARM)
def test_what_is_not_finite_reaches_what_it_must_and_nothing_else(harm, value):
    lengths = [20, 33, 5]
    qkv = packed(lengths, heads=2)
    grads = given(lengths, qkv)
    clean = interpreted(attend, qkv, lengths, *grads)
    qkv[20:53][HARM[harm]] = value
    found, wanted = interpreted(attend, qkv, lengths, *grads), one_by_one(qkv, lengths, *grads)
    for name, mine, right, before in zip(
        ("out", "lse", "gradient"), found, wanted, clean, strict=True
    ):
        # Which of infinity and NaN it is may depend on the order of the sums.
        assert torch.equal(mine.isfinite(), right.isfinite()), name
        for outside in (slice(0, 20), slice(53, None)):
            assert torch.equal(mine[outside], before[outside]), name
        assert torch.equal(mine[:, -1], before[:, -1]) or name == "gradient"  # the other head


def test_the_first_row_alone_reads_no_other_query():
    qkv = packed([40])
    wanted = interpreted(attend, qkv, [40], *given([40], qkv, True), first_only=True)
    qkv[1:, 0] = NAN
    found = interpreted(attend, qkv, [40], *given([40], qkv, True), first_only=True)
    assert all(map(torch.equal, found, wanted))
    assert not found[2][1:, 0].any()


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_element_of_a_result_is_written(dtype, first_only):
    lengths = [1, 0, 130, 17]
    qkv = packed(lengths, heads=2, size=96 if dtype == torch.bfloat16 else 32, dtype=dtype)
    grads = given(lengths, qkv, first_only)
    plain, poisoned = (
        interpreted(
            attend, qkv, lengths, *grads, first_only=first_only, uninitialised_is_nan=poison
        )
        for poison in (False, True)
    )
    assert all(map(torch.equal, plain, poisoned))
    assert not any(t.isnan().any() for t in poisoned)


def padded_rows(qkv):
    return torch.cat([qkv, torch.full_like(qkv, NAN)], dim=3)[..., : qkv.shape[3]]


def among_other_rows(qkv):
    some = torch.full_like(qkv[:3], NAN)
    return torch.cat([some, qkv, some])[3:-3]


def every_second_row(qkv):
    return torch.stack([qkv, torch.full_like(qkv, NAN)], dim=1)[:, 0]


def one_block_for_each_of_three(qkv):
    return qkv.permute(1, 2, 0, 3).contiguous().permute(2, 0, 1, 3)


def features_first(qkv):
    return qkv.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)


def reordered_heads(qkv):
    return qkv.transpose(1, 2).contiguous().transpose(1, 2)


VIEWS = (
    padded_rows,
    among_other_rows,
    every_second_row,
    one_block_for_each_of_three,
    features_first,
    reordered_heads,
)


@pytest.mark.parametrize("size", [16, 96])
@pytest.mark.parametrize("view", VIEWS)
def test_strides_change_no_bit_and_what_lies_between_is_not_touched(view, size):
    lengths = [40, 0, 3]
    qkv = packed(lengths, heads=2, size=size, dtype=torch.float16)
    grads = given(lengths, qkv)
    wanted = interpreted(attend, qkv, lengths, *grads)
    strided = view(qkv)
    assert torch.equal(strided, qkv)
    assert not strided.is_contiguous() or strided.storage_offset()
    found = interpreted(attend, strided, lengths, *grads)
    assert all(map(torch.equal, found, wanted))
    assert not interpreted(worker.changes_its_input, strided, lengths, *grads)


def far_away(function, *distances):
    try:
        return interpreted(function, *distances)
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        pytest.skip("this system gives no memory that is not there, even if it is not touched")


@pytest.mark.parametrize(
    ("row_stride", "part_stride"), [(2**30, 16), (2**31 + 16, 16), (16, 2**30 + 16), (16, 2**31)]
)
def test_rows_and_parts_may_be_further_apart_than_32_bits_count(row_stride, part_stride):
    far, near = far_away(worker.attend_far_away, row_stride, part_stride)
    assert torch.equal(far, near)


def test_gradients_may_be_larger_than_32_bits_count():
    many, few = far_away(worker.differentiate_far_away, 2**31 // 48 + 100)
    assert all(map(torch.equal, many, few))


def test_the_variable_stays_in_the_worker():
    assert interpreted(worker.variable_of_the_worker) == "1"
    assert "TRITON_INTERPRET" not in os.environ
    code = "import os; print('TRITON_INTERPRET' in os.environ)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("first_only", [False, True])
def test_the_operators_keep_the_rules_of_pytorch(first_only):
    interpreted(worker.check_operators, first_only)


COMPOSITIONS = [[20, 3, 9], [5, 6, 7, 30], [11, 5], [17, 1], [13, 0, 5], [130, 3, 20]]


@pytest.mark.parametrize(
    ("first_only", "room", "times"), [(False, True, 1), (True, True, 1), (False, False, 2)]
)
def test_compiled_once_for_all_compositions(first_only, room, times):
    """Once more where shapes differ, to make them dynamic."""
    compiled = interpreted(worker.compile_and_compare, COMPOSITIONS, first_only, room)
    assert compiled == times


@pytest.mark.parametrize("backend", ["triton", "sdpa", "reference"])
def test_autocast_lowers_float32_and_keeps_the_log_sum_exp(backend):
    lengths = [5, 30]
    qkv = 3 * packed(lengths, heads=2)
    out, lse, grad = interpreted(worker.attend_under_autocast, qkv, lengths, backend)
    exact, exact_lse, _ = definition(qkv.bfloat16(), lengths)
    assert out.dtype == torch.bfloat16
    assert grad.dtype == qkv.dtype
    assert lse.dtype == torch.float32
    # The output is rounded once, by cutting off at worst; the log-sum-exp never.
    assert error(out, exact) <= torch.finfo(torch.bfloat16).eps
    assert error(lse, exact_lse) <= 4 * FLOAT32


def test_what_the_kernels_cannot_take_is_said(monkeypatch):
    monkeypatch.setattr(op, "INTERPRETED", False)
    cu = torch.tensor([0, 5], dtype=torch.int32)
    for qkv, reason in (
        (packed([5]), "needs an NVIDIA GPU, but the tensors are on cpu"),
        (packed([5]).double(), "takes bfloat16, float16 and float32, but qkv is torch.float64"),
        (packed([5], size=8), "heads of size 8, only for 16, 32, 64, 96"),
    ):
        with pytest.raises(ValueError, match=rf"'triton' cannot be taken: it.*{reason}"):
            ragged_attention(qkv, cu, backend="triton")
        assert ragged_attention(qkv, cu).shape == qkv[:, 0].shape


def test_a_head_size_without_tiles_goes_elsewhere_unless_forced():
    qkv = packed([5, 3], size=24)
    found = interpreted(worker.attend_by_default, qkv, [5, 3])
    assert error(found, definition(qkv, [5, 3])[0]) < 4 * FLOAT32
    with pytest.raises(ValueError, match="heads of size 24"):
        interpreted(attend, qkv, [5, 3])


@pytest.mark.parametrize(
    ("capability", "shared_memory", "release", "reason"),
    [
        ((7, 5), 65536, (3, 9), "compute capability 8.0, but cuda:0 has 7.5"),
        (
            (8, 0),
            98304,
            (3, 9),
            "101376 bytes of shared memory for a program, but cuda:0 offers",
        ),
        ((8, 6), 101376, (3, 6), None),
        ((9, 0), 232448, (3, 6), None),
        ((10, 0), 232448, (3, 7), "on cuda:0 it needs Triton 3.8, but"),
        ((10, 0), 232448, (3, 8), None),
        ((12, 0), 101376, (3, 6), None),
    ],
)
def test_a_gpu_that_is_too_small_is_named(monkeypatch, capability, shared_memory, release, reason):
    monkeypatch.setattr(op, "INTERPRETED", False)
    monkeypatch.setattr(op, "RELEASE", release)
    monkeypatch.setattr(torch.version, "hip", None)
    gpu = {"major": capability[0], "minor": capability[1]}
    gpu |= {"shared_memory_per_block_optin": shared_memory}
    monkeypatch.setattr(op, "properties", lambda _: SimpleNamespace(**gpu))
    qkv = SimpleNamespace(dtype=torch.float16, shape=(5, 3, 2, 16), device=torch.device("cuda", 0))
    said = op.why_not(qkv)
    assert said is None if reason is None else reason in said


def test_a_gpu_of_another_maker_is_refused(monkeypatch):
    monkeypatch.setattr(op, "INTERPRETED", False)
    monkeypatch.setattr(torch.version, "hip", "7.0")
    qkv = SimpleNamespace(dtype=torch.float16, shape=(5, 3, 2, 16), device=torch.device("cuda", 0))
    assert "needs an NVIDIA GPU" in op.why_not(qkv)


@pytest.mark.parametrize(
    ("backend", "number"),
    # The interpreter takes a minute for the larger ones.
    [("triton", 1), ("triton", 2), *((one, k) for one in ("sdpa", "reference") for k in range(4))],
)
def test_chadavit_gives_the_recorded_outputs(golden, backend, number):
    recorded = load_file(golden / "expected.safetensors")
    planes = recorded[f"case{number}.planes"][:, 0]
    images = list(planes.split(recorded[f"case{number}.channel_counts"].tolist()))
    cls, tokens = interpreted(worker.encode, str(golden), images, backend, tokens=True)
    alone, _ = interpreted(worker.encode, str(golden), images, backend)
    # Float32 rounding over three layers is 1e-6; any wrong detail of the layer gives 1e-3 or more.
    assert error(cls, recorded[f"case{number}.cls"]) < 1e-5
    assert error(tokens, recorded[f"case{number}.tokens"]) < 1e-5
    assert error(alone, recorded[f"case{number}.cls"]) < 1e-5


def test_chadavit_in_half_precision_keeps_its_outputs(golden):
    recorded = load_file(golden / "expected.safetensors")
    images = list(recorded["case2.planes"][:, 0].split(recorded["case2.channel_counts"].tolist()))
    cls, tokens = interpreted(
        worker.encode, str(golden), images, "triton", dtype="bfloat16", tokens=True
    )
    for found, name in ((cls, "cls"), (tokens, "tokens")):
        similar = torch.nn.functional.cosine_similarity(found, recorded[f"case2.{name}"])
        assert similar.min() > 1 - 1e-5  # the interpreter cuts bfloat16 off


@pytest.mark.parametrize("cls_only", [False, True])
def test_chadavit_trains_the_same_with_every_backend(cls_only):
    wanted = interpreted(worker.train, "reference", torch.float64, cls_only)
    for backend in ("triton", "sdpa", "reference"):
        found = interpreted(worker.train, backend, torch.float32, cls_only)
        assert found.keys() == wanted.keys()
        for name, grad in found.items():
            # Float32 rounding over two layers is 1e-6; a gradient that lacks a part is off by 1.
            assert (grad - wanted[name]).norm() <= 1e-4 * wanted[name].norm(), (backend, name)
