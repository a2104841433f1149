"""Operators are called as plain functions only where nothing has to see them."""

import sys
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux")

from host_time import Pass, launches_mocked
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal.logging_tensor import LoggingTensorMode
from zoo.kernels import _fused_layer_op, _ragged_attention_op
from zoo.kernels._operators import call_directly, needs_no_dispatcher, operator

CALLS = 2800
"""Most calls of functions in a pass, which cost the host its time.

They were 5000 when operators were always dispatched, autocast contexts always entered, and weights
read and cast twice a layer.
"""


@pytest.fixture(scope="module")
def doubled():
    @operator("test_doubled", traced=False)
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    doubled.register_fake(torch.empty_like)
    doubled.register_vmap(lambda info, dims, x: (doubled(x), dims[0]))
    doubled.register_autograd(lambda ctx, grad: grad * 3)  # unlike that of the function
    return doubled


def test_in_inference_an_operator_is_its_function(doubled):
    x = torch.ones(3)
    assert not needs_no_dispatcher(x)
    with torch.inference_mode():
        assert needs_no_dispatcher(x)
        assert needs_no_dispatcher(torch.nn.Parameter(x))
        with LoggingTensorMode():
            assert not needs_no_dispatcher(x)
        with FakeTensorMode() as fake:
            of_a_mode = fake.from_tensor(x)
        assert not needs_no_dispatcher(of_a_mode)  # also where the mode has ended
        assert not needs_no_dispatcher(x, 1, of_a_mode)
        assert not needs_no_dispatcher(x, torch._neg_view(x))
        assert call_directly(doubled, torch._neg_view(x)).tolist() == [-2, -2, -2]
        assert call_directly(doubled, x).tolist() == [2, 2, 2]


def test_gradients_transforms_and_tracers_see_the_operator(doubled, monkeypatch):
    x = torch.ones(3, requires_grad=True)
    call_directly(doubled, x).sum().backward()
    assert x.grad.tolist() == [3, 3, 3]
    with torch.inference_mode():
        y = torch.ones(2, 3)
        graph = make_fx(lambda y: call_directly(doubled, y))(y)
        assert "microscopy_zoo.test_doubled" in graph.code
        seen = []
        torch.vmap(
            lambda row: seen.append(needs_no_dispatcher(row)) or call_directly(doubled, row)
        )(y)
        assert seen == [False]
        monkeypatch.setattr(torch._C, "_is_tracing", lambda: True)  # torch.jit.trace is deprecated
        assert not needs_no_dispatcher(y)
        monkeypatch.undo()
    graphs = []

    def backend(module, _):
        graphs.append(module.code)
        return module

    compiled = torch.compile(lambda y: call_directly(doubled, y), backend=backend, fullgraph=True)
    with torch.inference_mode():
        assert compiled(torch.ones(3)).tolist() == [2, 2, 2]
    assert "microscopy_zoo.test_doubled" in graphs[0]


def test_properties_of_a_gpu_are_asked_for_once(monkeypatch):
    times = []

    def properties(device):
        times.append(device)
        return SimpleNamespace(major=9, minor=0, shared_memory_per_block_optin=232448)

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    for module in (_ragged_attention_op, _fused_layer_op):
        monkeypatch.setattr(module, "INTERPRETED", False)
    monkeypatch.setattr(torch.version, "hip", None)
    _ragged_attention_op.cached_properties.cache_clear()
    one, other = torch.device("cuda", 0), torch.device("cuda", 1)
    try:
        for device in (one, other, one, torch.device("cuda", 1)):
            assert _ragged_attention_op.why_no_gpu(device) is None
            large, _ = _fused_layer_op.TILES["norm_qkv"]
            assert _fused_layer_op.tiles_for("norm_qkv", device) == large
    finally:
        _ragged_attention_op.cached_properties.cache_clear()
    assert times == [one, other]


def test_the_host_of_a_gpu_makes_few_calls_in_a_pass():
    made = 0

    def count(frame, event, argument):
        nonlocal made
        made += event in ("call", "c_call")

    with launches_mocked() as grids:
        run = Pass([1, 2, 3, 4, 5] * 17)
        run()
        grids.clear()
        sys.setprofile(count)
        try:
            run()
        finally:
            sys.setprofile(None)
    assert len(grids) == 38  # patches; projection, attention and MLP of 12 layers; CLS rows
    assert 1000 < made < CALLS
