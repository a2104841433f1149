"""What PyTorch's compiler makes of the operators, traced for a GPU that need not be there."""

import re

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is for Linux")
from torch._functorch.aot_autograd import aot_module_simplified  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from zoo.kernels import RaggedPlan, ragged_attention  # noqa: E402
from zoo.kernels._ragged_attention_op import attend, attend_backward, cached_properties  # noqa: E402

# PyTorch compiles the kernel to see what it writes, without saying how to fuse.
pytestmark = pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
BATCHES = ([197, 589], [197, 197, 197], [100, 20, 300, 44], [589] * 7, [393, 0, 197])


class Hopper:
    """A driver that knows its target and nothing else."""

    major, minor = 9, 0
    shared_memory_per_block_optin = 232448

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_active_torch_device(self):
        return torch.device("cuda", 0)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


@pytest.fixture
def hopper(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: Hopper)
    monkeypatch.setattr(triton.runtime.driver, "_active", Hopper())
    for forget in (torch._dynamo.reset, cached_properties.cache_clear):
        forget()
    yield
    for forget in (torch._dynamo.reset, cached_properties.cache_clear):
        forget()


def on_gpu(shape, dtype=torch.bfloat16):
    with FakeTensorMode(allow_non_fake_inputs=True):
        return torch.empty(shape, dtype=dtype, device="cuda")


def fake_plan(lengths):
    plan = RaggedPlan.from_lengths(lengths)
    parts = [plan.cu_seqlens, plan.tiles, plan.firsts]
    return RaggedPlan(plan.lengths, *(on_gpu(part.shape, torch.int32) for part in parts))


def traced(function, graphs):
    def keep(module, inputs):
        graphs.append(module.code)
        return module.forward

    def backend(module, inputs):
        return aot_module_simplified(module, inputs, fw_compiler=keep, bw_compiler=keep)

    return torch.compile(function, fullgraph=True, backend=backend)


def written(graph):
    return [set(re.findall(r"\w+", m)) for m in re.findall(r"tensors_to_clone = \[(.*?)\]", graph)]


@torch.no_grad()
@pytest.mark.parametrize("first_only", [False, True])
def test_a_batch_of_another_composition_needs_no_new_graph(hopper, first_only):
    graphs = []

    def rows(qkv, plan):
        return ragged_attention(qkv, plan.cu_seqlens, plan=plan, first_only=first_only)

    compiled = traced(rows, graphs)
    for lengths in BATCHES:
        qkv, plan = on_gpu((sum(lengths), 3, 12, 16)), fake_plan(lengths)
        with FakeTensorMode(allow_non_fake_inputs=True):
            out = compiled(qkv, plan)
        assert out.shape == (len(lengths) if first_only else sum(lengths), 12, 16)
    assert len(graphs) in (1, 2)  # one for the first batch, and at most one for all others
    assert "triton_kernel_wrapper_functional" in graphs[-1]


@torch.no_grad()
def test_only_results_are_seen_as_written(hopper):
    """An input that the compiler believed to be written to would rule out CUDA graphs."""
    graphs = []

    def both(qkv, plan, grad):
        out, lse = attend(qkv, plan.tiles, plan.firsts, 2, False, 0.25, False, qkv.dtype)
        work = (plan.tiles, plan.firsts)
        return attend_backward(grad, lse, qkv, out, lse, *work, False, 0.25, False)

    plan, qkv = fake_plan([197, 589]), on_gpu((786, 3, 12, 16))
    out_grad = on_gpu((786, 12, 16))
    with FakeTensorMode(allow_non_fake_inputs=True):
        grad = traced(both, graphs)(qkv, plan, out_grad)
    assert grad.shape == qkv.shape
    assert written(graphs[0]) == [{"out", "lse"}, {"delta", "grad_qkv"}, {"grad_qkv"}]
    assert "copy_" not in graphs[0]
