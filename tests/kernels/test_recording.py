"""What depends on Python numbers of a batch is not recorded as a CUDA graph."""

import pytest
import torch
from zoo.kernels import RaggedPlan, TokenLayout, pack_tokens, ragged_attention
from zoo.kernels._ragged_plan import sent
from zoo.kernels._recording import refuse_recording


@pytest.fixture
def recording(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)


PLAN = RaggedPlan.from_lengths([3, 5])
QKV = torch.randn(8, 3, 2, 16, generator=torch.Generator().manual_seed(0))
LAYOUT = TokenLayout.from_counts([1, 2], [0, 0, 1], patches=4)
NUMBERS_OF_THE_BATCH = {
    "sdpa": lambda: ragged_attention(QKV, PLAN.cu_seqlens, plan=PLAN, backend="sdpa"),
    "reference": lambda: ragged_attention(QKV, PLAN.cu_seqlens, plan=PLAN, backend="reference"),
    "patch_rows": LAYOUT.patch_rows,
    "plan or a layout": lambda: sent(torch.zeros(1), torch.device("cuda")),
}


@pytest.mark.parametrize("what", NUMBERS_OF_THE_BATCH)
def test_it_is_refused(recording, what):
    with pytest.raises(RuntimeError, match=f"{what}.* cannot be recorded as a CUDA graph"):
        NUMBERS_OF_THE_BATCH[what]()


def test_compiled_code_is_not_asked(recording, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    refuse_recording("anything")


def packed(counts, planes, room, weight):
    """Rows of the tokens of a batch, and the gradient of the projection."""
    places = [c for count in counts for c in range(count)]
    layout = TokenLayout.from_counts(counts, places, patches=4, room=room)
    weight = weight.clone().requires_grad_()
    first = torch.full((24,), 7.0, requires_grad=True)
    rows = pack_tokens(
        planes,
        layout,
        weight,
        torch.zeros(24),
        position=torch.zeros(4, 24),
        channel=torch.arange(4.0)[:, None].expand(4, 24),
        first=first,
        patch=16,
        backend=None,
    )
    used = rows[: sum(1 + 4 * c for c in counts)]
    used.square().sum().backward()
    return used, weight.grad, first.grad


@pytest.mark.parametrize("counts", [[1, 2], [3], [1]])
def test_room_changes_neither_rows_nor_gradients(counts):
    draw = torch.Generator().manual_seed(0)
    planes = torch.rand(sum(counts), 32, 32, generator=draw)
    weight = torch.randn(24, 256, generator=draw)
    left = torch.full((4 - sum(counts), 32, 32), torch.nan)  # what an earlier batch left
    plain = packed(counts, planes, None, weight)
    roomy = packed(counts, torch.cat([planes, left]), 4, weight)
    for found, wanted in zip(roomy, plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
