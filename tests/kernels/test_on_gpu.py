"""What only a GPU can show; skipped without one."""

import warnings
from functools import partial

import pytest
import torch
from zoo.kernels import (
    LayerWeights,
    RaggedPlan,
    channel_attention,
    norm_qkv,
    pack_tokens,
    ragged_attention,
    residual_mlp,
)
from zoo.kernels._ragged_attention import why_not

import zoo

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


# The parts around the attention, and the whole encoder.


def channel_batch(counts, seed=0, side=224):
    draw = torch.Generator().manual_seed(seed)
    planes = torch.rand(sum(counts), side, side, generator=draw)
    return zoo.ImageBatch(planes.cuda(), torch.tensor(counts))


def embed(encoder, batch, **options):
    return encoder.encode(batch, preprocess=False, **options).embedding


@pytest.fixture(scope="module")
def encoders():
    """Nothing is equal in float32 and half precision but what the weights are drawn from."""
    return {
        dtype: zoo.load("chadavit-untrained", device="cuda", dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    }


def test_the_usual_dtype_is_bfloat16():
    assert zoo.load("chadavit-untrained", device="cuda").dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_fused_parts_are_as_exact_as_plain_ones(dtype):
    draw = torch.Generator("cuda").manual_seed(0)

    def normal(*shape, scale=1.0):
        return scale * torch.randn(*shape, device="cuda", generator=draw)

    matrices = [normal(576, 192), normal(192, 192), normal(2048, 192), normal(192, 2048)]
    exact = [(m * m.shape[1] ** -0.5).to(dtype).double() for m in matrices]
    gains = [1 + normal(192, scale=0.2) for _ in range(2)]
    shifts = {n: normal(n, scale=0.2) for n in (576, 2048)} | {0: normal(192), 1: normal(192)}
    wide = [
        *(exact[0], shifts[576], exact[1], shifts[0], gains[0], shifts[1]),
        *(exact[2], shifts[2048], exact[3], shifts[1], gains[1], shifts[0], 1e-5),
    ]
    for rows in (1, 127, 128, 5000):
        x, mixed = normal(rows, 192), normal(rows, 192).to(dtype)
        own = LayerWeights(
            *(w.to(dtype) if isinstance(w, torch.Tensor) and w.ndim == 2 else w for w in wide)
        )
        doubled = LayerWeights(*(w.double() if isinstance(w, torch.Tensor) else w for w in wide))
        pairs = [
            (partial(norm_qkv, x, own), norm_qkv(x.double(), doubled)),
            (
                partial(residual_mlp, x, mixed, own),
                residual_mlp(x.double(), mixed.double(), doubled),
            ),
        ]
        for run, wanted in pairs:
            plain, fused = (error(run(backend=b), wanted) for b in ("torch", "triton"))
            assert fused <= 2 * plain + torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_embeddings(encoders, dtype):
    batch = channel_batch([1, 3, 10, 2, 5])
    wanted, found = embed(encoders[torch.float32], batch), embed(encoders[dtype], batch)
    assert torch.nn.functional.cosine_similarity(wanted, found).min() > 0.9999
    assert error(wanted.cpu(), embed(zoo.load("chadavit-untrained", device="cpu"), batch)) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_replayed_batches_are_those_that_are_launched(encoders, dtype, monkeypatch):
    encoder = encoders[dtype]
    batches = [channel_batch(counts, i) for i, counts in enumerate([[1], [3, 2], [5], [1, 1, 1]])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as a graph that could not be recorded
        replayed = [embed(encoder, batch) for batch in batches]
    monkeypatch.setattr(type(encoder), "_replay", lambda self: lambda *_: None)
    for batch, found in zip(batches, replayed, strict=True):
        torch.testing.assert_close(found, embed(encoder, batch), rtol=1e-3, atol=1e-4)


def test_half_precision_gives_the_same_bits_in_any_company(encoders, monkeypatch):
    encoder = encoders[torch.bfloat16]
    monkeypatch.setattr(type(encoder), "_replay", lambda self: lambda *_: None)
    batch = channel_batch([2, 7, 1, 3])
    together = embed(encoder, batch)
    for i, image in enumerate(batch.images()):
        alone = zoo.ImageBatch(image, torch.tensor([len(image)]))
        assert torch.equal(embed(encoder, alone)[0], together[i])


def test_a_training_step_through_the_kernels_has_the_gradients_of_plain_operators(monkeypatch):
    batch = channel_batch([1, 3, 2], side=64)
    places = torch.cat([torch.arange(c) for c in (1, 3, 2)])
    goal = torch.randn(3, 192, generator=torch.Generator().manual_seed(1)).cuda()

    def gradients(backend, dtype):
        model = zoo.load("chadavit-untrained", device="cuda", dtype="float32").model.train()
        for function in (norm_qkv, pack_tokens, residual_mlp):
            monkeypatch.setattr(
                f"zoo.plugins.encoders.chadavit_model.{function.__name__}",
                partial(function, backend=backend),
            )
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            cls = model(batch.planes, batch.counts, places, cls_only=True)[0]
        (cls.float() * goal).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()]).double()

    exact = gradients("torch", torch.float32)
    plain = error(gradients("torch", torch.bfloat16), exact)
    assert error(gradients("triton", torch.bfloat16), exact) <= 2 * plain


def test_memory_that_runs_out_is_said_and_everything_goes_on():
    encoder = zoo.load("chadavit-untrained", device="cuda", dtype="float32")
    batch = channel_batch([4] * 24)
    wanted = embed(encoder, batch)
    _, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    used = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (used + 96 * 2**20) / total))
    try:
        with pytest.warns(UserWarning, match="out of memory"):
            found = embed(encoder, batch)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
