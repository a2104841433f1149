"""The Triton kernels on the CPU, through Triton's interpreter, in a process of their own.

>>> out, lse, grad = interpreted(attend, qkv, lengths, ones)

Triton reads ``TRITON_INTERPRET`` when it is imported, so the functions of this module run in a
worker that is started with the variable set; this process and all that it starts stay without it.
"""

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from inspect import getmembers
from multiprocessing import get_context
from typing import Any
from unittest import mock

import torch
import zoo.plugins.encoders.chadavit_model
from torch import Tensor
from untraced import stop_tracing
from zoo.kernels import (
    LayerWeights,
    RaggedPlan,
    TokenLayout,
    channel_attention,
    norm_qkv,
    pack_tokens,
    ragged_attention,
    residual_mlp,
)

import zoo


def interpreted(function, *arguments, **options) -> Any:
    """Return what a function of this module returns in the worker."""
    # As bytes, because tensors that travel on their own would be moved to shared memory.
    call = pickle.dumps((function, arguments, options))
    try:
        return pickle.loads(_worker().submit(_answer, call).result())
    except BrokenProcessPool:  # a kernel left its tensors: the next test gets a new worker
        _worker.cache_clear()
        raise


@cache
def _worker() -> ProcessPoolExecutor:
    """Start the worker; it ends with this process."""
    pool = ProcessPoolExecutor(1, get_context("spawn"))
    with mock.patch.dict(os.environ, {"TRITON_INTERPRET": "1"}):
        pool.submit(_prepare).result()  # started here, and not later
    return pool


def _prepare() -> None:
    """Use one thread, and mend two things of Triton's interpreter.

    It looks through the language for what to replace whenever a kernel calls a function, which is
    half of its time. Triton 3.6 converts an array of one element to a number, which NumPy 2.4 and
    newer refuse.
    """
    import triton
    from triton.runtime import interpreter

    stop_tracing()
    torch.set_num_threads(1)
    builtin = interpreter.tl.core.is_builtin

    @cache
    def builtins(package: Any) -> list[str]:
        return [name for name, member in getmembers(package) if builtin(member)]

    def replace_builtins(package: Any, builder: Any, scope: Any) -> None:
        for name in builtins(package):
            member = getattr(package, name)
            if builtin(member):
                interpreter._patch_attr(package, name, member, builder, scope)

    interpreter._patch_builtin = replace_builtins
    if triton.__version__.startswith("3.6."):
        patch = interpreter._patch_lang_tensor

        def mended(tensor: Any, scope: Any) -> None:
            patch(tensor, scope)
            scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.squeeze()))

        interpreter._patch_lang_tensor = mended


def _answer(call: bytes) -> bytes:
    function, arguments, options = pickle.loads(call)
    return pickle.dumps(function(*arguments, **options))


def variable_of_the_worker() -> str | None:
    return os.environ.get("TRITON_INTERPRET")


def attend(
    qkv: Tensor,
    lengths: list[int],
    grad_out: Tensor | None = None,
    grad_lse: Tensor | None = None,
    *,
    room: dict[str, int] | None = None,
    backend: str = "triton",
    uninitialised_is_nan: bool = False,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return output, log-sum-exp and, where a gradient is given for one of them, the gradient."""
    plan = RaggedPlan.from_lengths(lengths, **(room or {}))
    qkv = qkv.detach().requires_grad_()
    # PyTorch's own way to make every `empty` of a floating type NaN.
    torch.use_deterministic_algorithms(uninitialised_is_nan)
    try:
        out, lse = ragged_attention(
            qkv, plan.cu_seqlens, plan=plan, return_lse=True, backend=backend, **options
        )
        given = [(t, g) for t, g in ((out, grad_out), (lse, grad_lse)) if g is not None]
        if given:
            torch.autograd.backward(*zip(*given, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)
    return out.detach(), lse.detach(), qkv.grad


def attend_with_a_summed_loss(qkv: Tensor, lengths: list[int]) -> Tensor:
    """Return the gradient of ``out.sum() + lse.t().sum()``, given as expanded scalars."""
    plan = RaggedPlan.from_lengths(lengths)
    qkv = qkv.detach().requires_grad_()
    out, lse = ragged_attention(qkv, plan.cu_seqlens, plan=plan, return_lse=True, backend="triton")
    (out.sum() + lse.t().sum()).backward()
    assert qkv.grad is not None
    return qkv.grad


def changes_its_input(qkv: Tensor, *arguments: Any) -> bool:
    """Return whether attention or its gradient writes into what `qkv` is a view of."""
    before = bytes(qkv.untyped_storage())
    attend(qkv, *arguments)
    return bytes(qkv.untyped_storage()) != before


def differentiate_twice(qkv: Tensor, lengths: list[int]) -> None:
    plan = RaggedPlan.from_lengths(lengths)
    qkv = qkv.detach().requires_grad_()
    out = ragged_attention(qkv, plan.cu_seqlens, plan=plan, backend="triton")
    (grad,) = torch.autograd.grad(out.sum(), qkv, create_graph=True)
    torch.autograd.grad(grad.sum(), qkv)


def attend_far_away(row_stride: int, part_stride: int) -> tuple[Tensor, Tensor]:
    """Return the output of images of 2 and 1 rows that lie far apart, and of their copy.

    Nearly all of the memory in between is never touched, so it is none. There is as much of it in
    front, so that an address that wraps around is wrong, but harmless.
    """
    draw = torch.Generator().manual_seed(0)
    near = torch.randn(3, 3, 1, 16, generator=draw).half()
    front = 2**31
    size = front + 2 * (row_stride + part_stride) + near[0].numel()
    space = torch.empty(size, dtype=near.dtype)
    far = space.as_strided(near.shape, (row_stride, part_stride, 16, 1), front)
    far.copy_(near)
    return attend(far, [2, 1])[0], attend(near, [2, 1])[0]


def differentiate_far_away(rows: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return output and gradient of the last five of many rows, and of those five alone.

    All rows but those are outside of every image, so that their memory is never touched.
    """
    draw = torch.Generator().manual_seed(0)
    n = 5
    one = torch.randn(1, 3, 1, 16, generator=draw).half()
    given = torch.randn(n, 1, 16, generator=draw).half()
    results = []
    for total in (rows, n):
        tiles = torch.tensor([[0, 0, total - n, n]], dtype=torch.int32)
        qkv = one.expand(total, 3, 1, 16)
        grad_out, grad_lse = torch.empty(total, 1, 16, dtype=one.dtype), torch.empty(1, total)
        grad_out[-n:], grad_lse[:, -n:] = given, 0
        out, lse = torch.ops.microscopy_zoo.ragged_attention(
            qkv, tiles, tiles, 1, False, 0.25, False, qkv.dtype
        )
        grad = torch.ops.microscopy_zoo.ragged_attention_backward(
            grad_out, grad_lse, qkv, out, lse, tiles, tiles, False, 0.25, False
        )
        results.append((out[-n:].clone(), grad[-n:].clone()))
    return results[0], results[1]


def check_operators(first_only: bool) -> None:
    """Run PyTorch's own checks of custom operators on both operators."""
    draw = torch.Generator().manual_seed(0)
    lengths = [3, 0, 20]
    plan = RaggedPlan.from_lengths(lengths)
    qkv = torch.randn(23, 3, 2, 16, generator=draw)
    operators = torch.ops.microscopy_zoo
    forward = (plan.tiles, plan.firsts, 3, first_only, 0.3, False, torch.float32)
    for needs_grad in (False, True):
        torch.library.opcheck(
            operators.ragged_attention.default, (qkv.clone().requires_grad_(needs_grad), *forward)
        )
    out, lse = operators.ragged_attention(qkv, *forward)
    torch.library.opcheck(
        operators.ragged_attention_backward.default,
        (
            *(torch.randn_like(out), torch.randn_like(lse), qkv, out, lse),
            *(plan.tiles, plan.firsts, first_only, 0.3, False),
        ),
    )


def compile_and_compare(batches: list[list[int]], first_only: bool, room: bool) -> int:
    """Check that compiled attention gives the bits of eager; return how often it was compiled."""
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")

    def loss(qkv: Tensor, plan: RaggedPlan) -> tuple[Tensor, Tensor]:
        out, lse = ragged_attention(
            qkv,
            plan.cu_seqlens,
            plan=plan,
            first_only=first_only,
            return_lse=True,
            backend="triton",
        )
        return out, lse

    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    draw = torch.Generator().manual_seed(0)
    size = {"rows": 200, "images": 6} if room else {}
    for lengths in batches:
        plan = RaggedPlan.from_lengths(lengths, **size)
        data = torch.randn(plan.total, 3, 1, 16, generator=draw)
        found = []
        for function in (compiled, loss):
            qkv = data.clone().requires_grad_()
            out, lse = function(qkv, plan)
            (out.square().sum() + lse.clamp(min=-9).sum()).backward()
            found.append((out.detach(), lse.detach(), qkv.grad))
        for one, other in zip(*found, strict=True):
            assert torch.equal(one, other)
    return counter.frame_count


def attend_under_autocast(
    qkv: Tensor, lengths: list[int], backend: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return attend(
            qkv, lengths, torch.ones(qkv[:, 0].shape, dtype=torch.bfloat16), backend=backend
        )


def attend_by_default(qkv: Tensor, lengths: list[int]) -> Tensor:
    return ragged_attention(qkv, RaggedPlan.from_lengths(lengths).cu_seqlens)


@contextmanager
def _with_backend(backend: str) -> Iterator[None]:
    """Let ChAda-ViT use one backend for everything."""
    rest = backend if backend == "triton" else "torch"
    with ExitStack() as stack:
        for function in (norm_qkv, pack_tokens, ragged_attention, residual_mlp):
            one = backend if function is ragged_attention else rest
            stack.enter_context(
                mock.patch.object(
                    zoo.plugins.encoders.chadavit_model,
                    function.__name__,
                    partial(function, backend=one),
                )
            )
        yield


def encode(
    folder: str, images: list[Tensor], backend: str, dtype: str = "float32", **options: Any
) -> tuple[Tensor, Tensor | None]:
    """Return the embeddings and the tokens of a ChAda-ViT."""
    with _with_backend(backend):
        encoder = zoo.load(f"chadavit:{folder}", dtype=dtype)
        features = encoder.encode(images, preprocess=False, **options)
    return features.embedding, features.tokens


def train(backend: str, dtype: torch.dtype, cls_only: bool) -> dict[str, Tensor]:
    """Return the gradients of a small ChAda-ViT after one step on images of 1, 2 and 3 channels."""
    model = zoo.plugins.encoders.chadavit_model.ChAdaViT(
        depth=2,
        embed_dim=32,
        num_heads=2,
        patch_size=4,
        img_size=8,
        max_number_channels=4,
        hidden_dim=64,
        layer_norm_eps=1e-5,
    )
    model.initialise(0)
    # Away from the tiny initial values, so that attention is not all but uniform.
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=draw)
    model.to(dtype).train()
    counts = torch.tensor([1, 2, 3])
    planes = torch.randn(6, 8, 8, generator=draw).to(dtype)
    places = torch.tensor([0, 0, 1, 0, 1, 2])
    with _with_backend(backend):
        cls, tokens = model(planes, counts, places, cls_only=cls_only)
    read = cls if tokens is None else torch.cat([cls, tokens.flatten(0, 1)])
    (read * torch.randn(read.shape, generator=draw).to(dtype)).sum().backward()
    return {name: p.grad for name, p in model.named_parameters()}


def summarise_channels(
    qkv: Tensor, cu_seqlens: Tensor, cu_groups: Tensor
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the channel matrices and the rows of the CLS token."""
    found = channel_attention(qkv, cu_seqlens, cu_groups, backend="triton")
    return tuple(m.clone() for m in found.mass), found.first


def _differentiated(function: Callable[[], Tensor], read: Tensor, leaves: Sequence[Tensor]):
    """Return the result of a function, and the gradients of the leaves for that of `read`."""
    torch.use_deterministic_algorithms(True)  # every `empty` is NaN
    try:
        out = function()
        grads = torch.autograd.grad(out, leaves, read.to(out.dtype))
    finally:
        torch.use_deterministic_algorithms(False)
    return out.detach(), [g.clone() for g in grads]


def project(
    x: Tensor, weights: list[Any], read: Tensor, backend: str
) -> tuple[Tensor, list[Tensor]]:
    """Return queries, keys and values, and the gradients of rows, norm and projection."""
    x = x.detach().requires_grad_()
    layer = LayerWeights(*(w.requires_grad_() for w in weights[:-1]), weights[-1])
    leaves = (x, layer.norm1_weight, layer.norm1_bias, layer.qkv_weight, layer.qkv_bias)
    return _differentiated(lambda: norm_qkv(x, layer, backend=backend), read, leaves)


def project_some(x: Tensor, weights: list[Any], rows: Tensor, backend: str) -> Tensor:
    """Return queries, keys and values where the queries of some rows are read."""
    with torch.no_grad():
        return norm_qkv(x, LayerWeights(*weights), query_rows=rows, backend=backend)


def finish(
    x: Tensor, mixed: Tensor, weights: list[Any], read: Tensor, backend: str
) -> tuple[Tensor, list[Tensor]]:
    """Return the rows after a layer, and the gradients of all that decides them."""
    x, mixed = x.detach().requires_grad_(), mixed.detach().requires_grad_()
    layer = LayerWeights(*(w.requires_grad_() for w in weights[:-1]), weights[-1])
    leaves = (x, mixed, *layer[2:-1])
    return _differentiated(lambda: residual_mlp(x, mixed, layer, backend=backend), read, leaves)


def pack(
    planes: Tensor,
    counts: list[int],
    places: list[int],
    parts: dict[str, Tensor],
    patch: int,
    read: Tensor,
    backend: str,
    room: int | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Return packed tokens, and the gradients of planes and embeddings."""
    patches = planes.shape[1] // patch * (planes.shape[2] // patch)
    layout = TokenLayout.from_counts(counts, places, patches, room=room)
    planes.requires_grad_()  # not detached: its strides matter
    leaves = [planes, *(p.requires_grad_() for p in parts.values())]

    def run() -> Tensor:
        return pack_tokens(planes, layout, **parts, patch=patch, backend=backend)

    return _differentiated(run, read, leaves)


def check_layer_operators() -> None:
    """Run PyTorch's own checks of custom operators on those around the attention."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).requires_grad_()

    operators = torch.ops.microscopy_zoo
    x = normal(20, 32)
    matrices = (normal(96, 32), normal(96))
    torch.library.opcheck(
        operators.norm_qkv.default,
        (x, normal(32), normal(32), *matrices, 1e-5, None, torch.float32),
    )
    layer = (
        *(normal(32, 32), normal(32), normal(32), normal(32)),
        *(normal(64, 32), normal(64), normal(32, 64), normal(32), normal(32), normal(32)),
    )
    torch.library.opcheck(operators.residual_mlp.default, (x, normal(20, 32), *layer, 1e-5))
    layout = TokenLayout.from_counts([1, 2], [0, 0, 1], 4)
    embeddings = (normal(32, 16), normal(32), normal(4, 32), normal(2, 32), normal(32))
    torch.library.opcheck(
        operators.pack_tokens.default,
        (normal(3, 8, 8), *embeddings, layout.planes, layout.plan.cu_seqlens, layout.rows, 4),
    )
