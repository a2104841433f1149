"""Operators are called as plain functions only where nothing has to see them."""

import sys

import pytest
import torch
from host_time import Pass, launches_mocked
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal.logging_tensor import LoggingTensorMode
from zoo.kernels._operators import called, only_computed, operator

CALLS = 3000
"""Most calls of functions in a pass: a host needs its time for them. Operators made it 5000."""


@pytest.fixture(scope="module")
def doubled():
    @operator("test_doubled", traced=False)
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    doubled.register_fake(torch.empty_like)
    doubled.register_vmap(lambda info, dims, x: (doubled(x), dims[0]))
    doubled.register_autograd(lambda ctx, grad: grad * 2)
    return doubled


def test_in_inference_an_operator_is_its_function(doubled):
    x = torch.ones(3)
    assert not only_computed(x)
    with torch.inference_mode():
        assert only_computed(x)
        assert only_computed(torch.nn.Parameter(x))
        with LoggingTensorMode():
            assert not only_computed(x)
        with FakeTensorMode() as fake:
            of_a_mode = fake.from_tensor(x)
        assert not only_computed(of_a_mode)  # also where the mode has ended
        assert called(doubled, x).tolist() == [2, 2, 2]


def test_gradients_transforms_and_tracers_see_the_operator(doubled, monkeypatch):
    x = torch.ones(3, requires_grad=True)
    called(doubled, x).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    with torch.inference_mode():
        y = torch.ones(2, 3)
        graph = make_fx(lambda y: called(doubled, y))(y)
        assert "microscopy_zoo.test_doubled" in graph.code
        seen = []
        torch.vmap(lambda row: seen.append(only_computed(row)) or called(doubled, row))(y)
        assert seen == [False]
        monkeypatch.setattr(torch._C, "_is_tracing", lambda: True)  # torch.jit.trace is deprecated
        assert not only_computed(y)
        monkeypatch.undo()
    compiled = torch.compile(lambda y: called(doubled, y), backend="eager", fullgraph=True)
    assert compiled(torch.ones(3)).tolist() == [2, 2, 2]


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
