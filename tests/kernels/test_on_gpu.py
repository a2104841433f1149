"""What only a GPU can show; skipped without one."""

import pytest
import torch
from zoo.kernels import RaggedPlan, channel_attention, ragged_attention
from zoo.kernels._ragged_attention import why_not

NEEDED = "needs an NVIDIA GPU of compute capability 8.0 or higher, with Triton"


def usable():
    if not torch.cuda.is_available():
        return False
    return why_not(torch.empty(1, 3, 1, 16, device="cuda", dtype=torch.bfloat16)) is None


pytestmark = pytest.mark.skipif(not usable(), reason=NEEDED)
LENGTHS = [197, 589, 1, 0, 128, 129, 981, 64, 1961, 16]
DTYPES = [torch.bfloat16, torch.float16, torch.float32]


def packed(lengths=LENGTHS, heads=12, size=16, dtype=torch.bfloat16, spread=1.0, seed=0):
    draw = torch.Generator("cuda").manual_seed(seed)
    shape = (sum(lengths), 3, heads, size)
    qkv = spread * torch.randn(shape, device="cuda", generator=draw)
    return qkv.to(dtype), RaggedPlan.from_lengths(lengths, "cuda")


def plain(qkv, plan, grad):
    """Softmax attention image by image in the dtype of `qkv`, and its gradient."""
    qkv = qkv.detach().requires_grad_()
    parts = []
    for rows in qkv.split(list(plan.lengths)):
        q, k, v = rows.permute(1, 2, 0, 3)
        weights = torch.softmax(q.shape[-1] ** -0.5 * q @ k.transpose(1, 2), dim=-1)
        parts.append((weights @ v).transpose(0, 1))
    out = torch.cat(parts)
    out.backward(grad.to(out.dtype))
    return out.detach(), qkv.grad


def ours(qkv, plan, grad, **options):
    qkv = qkv.detach().requires_grad_()
    out = ragged_attention(qkv, plan.cu_seqlens, plan=plan, backend="triton", **options)
    out.backward(grad)
    return out.detach(), qkv.grad


def error(found, wanted):
    return ((found.double() - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("spread", [1.0, 4.0, 30.0])
@pytest.mark.parametrize("size", [16, 32, 64, 96])
@pytest.mark.parametrize("dtype", DTYPES)
def test_as_exact_as_plain_arithmetic_in_the_same_type(dtype, size, spread):
    qkv, plan = packed(heads=3, size=size, dtype=dtype, spread=spread)
    grad = torch.randn_like(qkv[:, 0])
    wanted = plain(qkv.double(), plan, grad)
    for mine, reference, exact in zip(
        ours(qkv, plan, grad), plain(qkv, plan, grad), wanted, strict=True
    ):
        # Where scores are large their last digits decide, by chance for or against either.
        worse = 2 if spread == 1 else 4
        limit = worse * max(error(reference, exact), torch.finfo(dtype).eps)
        assert error(mine, exact) <= limit


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_every_time_and_in_any_company(dtype):
    qkv, plan = packed(dtype=dtype)
    grad = torch.randn_like(qkv[:, 0])
    out, dqkv = ours(qkv, plan, grad)
    again = ours(qkv, plan, grad)
    assert torch.equal(out, again[0])
    assert torch.equal(dqkv, again[1])
    pieces = list(zip(qkv.split(LENGTHS), grad.split(LENGTHS), strict=True))
    order = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(1)).tolist()
    mixed = RaggedPlan.from_lengths([LENGTHS[i] for i in order], "cuda")
    found = ours(
        torch.cat([pieces[i][0] for i in order]), mixed, torch.cat([pieces[i][1] for i in order])
    )
    for whole, parts in zip((out, dqkv), found, strict=True):
        shuffled = parts.split(list(mixed.lengths))
        for place, i in enumerate(order):
            assert torch.equal(whole.split(LENGTHS)[i], shuffled[place])


def test_the_first_rows_alone_are_the_first_rows_of_all():
    qkv, plan = packed()
    every = ragged_attention(qkv, plan.cu_seqlens, plan=plan)
    first = ragged_attention(qkv, plan.cu_seqlens, plan=plan, first_only=True)
    starts = plan.cu_seqlens[:-1].long()
    for i, length in enumerate(LENGTHS):
        wanted = every[starts[i]] if length else torch.zeros_like(first[i])
        # Other tiles, so other sums: two roundings of bfloat16.
        torch.testing.assert_close(first[i], wanted, rtol=2**-7, atol=2**-7)


def test_tf32_is_taken_only_when_asked_for():
    qkv, plan = packed(dtype=torch.float32)
    grad = torch.randn_like(qkv[:, 0])
    exact = plain(qkv.double(), plan, grad)[0]
    assert error(ours(qkv, plan, grad)[0], exact) < 1e-6
    assert 1e-5 < error(ours(qkv, plan, grad, tf32=True)[0], exact) < 2e-3


def test_a_captured_graph_serves_batches_of_other_compositions():
    room = {"rows": 4096, "images": 12}
    batches = [[197, 589, 981], [1961, 197], [197] * 12]
    plan = RaggedPlan.from_lengths(batches[0], "cuda", **room)
    qkv = torch.zeros(room["rows"], 3, 12, 16, device="cuda", dtype=torch.bfloat16)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.no_grad():
        for _ in range(2):
            ragged_attention(qkv, plan.cu_seqlens, plan=plan)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        out = ragged_attention(qkv, plan.cu_seqlens, plan=plan)
    for i, lengths in enumerate(batches):
        fresh, own = packed(lengths, seed=i)
        qkv.fill_(float("nan"))
        qkv[: len(fresh)] = fresh
        plan.copy_(RaggedPlan.from_lengths(lengths, "cuda", **room))
        graph.replay()
        wanted = ragged_attention(fresh, own.cu_seqlens, plan=own)
        assert torch.equal(out[: len(fresh)], wanted)


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
def test_compiled_training_gives_the_gradients_of_eager():
    torch._dynamo.reset()

    def loss(qkv, plan):
        return ragged_attention(qkv, plan.cu_seqlens, plan=plan).float().square().mean()

    compiled = torch.compile(loss, fullgraph=True)
    for lengths in ([197, 589], [393, 197, 197], [1961], LENGTHS):
        data, plan = packed(lengths)
        grads = []
        for function in (compiled, loss):
            qkv = data.clone().requires_grad_()
            function(qkv, plan).backward()
            grads.append(qkv.grad.float())
        # The same kernels; the loss around them may be rounded elsewhere.
        torch.testing.assert_close(grads[0], grads[1], rtol=2**-6, atol=1e-6)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_tensors_need_not_be_on_the_current_gpu():
    qkv, plan = packed()
    grad = torch.randn_like(qkv[:, 0])
    there = RaggedPlan.from_lengths(LENGTHS, "cuda:1")
    found = ours(qkv.to("cuda:1"), there, grad.to("cuda:1"))
    for mine, wanted in zip(found, ours(qkv, plan, grad), strict=True):
        assert torch.equal(mine.cpu(), wanted.cpu())


def test_autocast_lowers_float32():
    qkv, plan = packed(dtype=torch.float32)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        out = ragged_attention(qkv, plan.cu_seqlens, plan=plan)
    assert out.dtype == torch.bfloat16


def test_attention_between_channels_agrees_with_the_reference():
    counts, patches = [1, 10, 3], 196
    lengths = [1 + c * patches for c in counts]
    qkv, plan = packed(lengths, dtype=torch.float32)
    sizes = [size for c in counts for size in (1, *[patches] * c)]
    groups = torch.tensor([0, *sizes]).cumsum(0).int().cuda()
    found = channel_attention(qkv, plan.cu_seqlens, groups, plan=plan, backend="triton")
    wanted = channel_attention(qkv.double(), plan.cu_seqlens, groups, plan=plan)
    for mine, reference in zip(found.mass, wanted.mass, strict=True):
        torch.testing.assert_close(mine.double(), reference, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.first.double(), wanted.first, rtol=1e-4, atol=1e-7)


def test_more_than_two_to_the_31_elements():
    rows = 2**31 // (3 * 12 * 16) + 4096
    lengths = [*[2048] * (rows // 2048), 197]
    plan = RaggedPlan.from_lengths(lengths, "cuda")
    qkv = torch.empty(plan.total, 3, 12, 16, device="cuda", dtype=torch.bfloat16)
    last, own = packed([197])
    qkv[:-197].normal_()
    qkv[-197:] = last
    with torch.no_grad():
        out = ragged_attention(qkv, plan.cu_seqlens, plan=plan)
        assert torch.equal(out[-197:], ragged_attention(last, own.cu_seqlens, plan=own))
