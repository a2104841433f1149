"""Every provider that a processor can run attends as it should, in its own layout."""

import pytest
import torch
from attention_cases import Case
from attention_gate import Gate
from attention_padding import Padding
from attention_providers import (
    BUCKETED,
    PADDED,
    PROVIDERS,
    TRITON,
    Attention,
    UnavailableError,
    calls_of,
    entered,
    refusal,
)
from bench_ragged_attention import Batch, _error, _measure

ON_CPU = (BUCKETED, PADDED, "padded to longest")
MIXED = Case("long-tailed", 2, 96, torch.float32, "cpu")


def batch_of(case):
    qkv, grad = case.inputs(0)
    return Batch(case, (qkv, grad), Gate.of(qkv, case.lengths, grad if case.backward else None))


@pytest.mark.parametrize("provider", ON_CPU)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("workload", ["1 channel", "long-tailed"])
def test_providers_pass_the_gate(provider, backward, workload):
    batch = batch_of(Case(workload, 2, 96, torch.float32, "cpu", backward))
    with torch.set_grad_enabled(backward):
        error = _error(PROVIDERS[provider](batch.case), batch)
    assert 0 < error < 1e-5


@pytest.mark.parametrize("provider", ON_CPU)
def test_a_backward_pass_can_be_repeated(provider):
    batch = batch_of(Case("long-tailed", 2, 96, torch.float32, "cpu", backward=True))
    attention = PROVIDERS[provider](batch.case)
    (call,) = calls_of(attention, batch.case, [entered(attention, batch.inputs)])
    first, second = call()[0], call()[0]
    torch.testing.assert_close(first, second)


def test_what_is_wrong_is_not_timed():
    batch = batch_of(MIXED)
    right = PROVIDERS[BUCKETED](MIXED)
    for wrong in (
        lambda qkv: right.forward(qkv) + 0.001,
        lambda qkv: torch.full_like(qkv[:, 0], torch.nan),
        lambda qkv: right.forward(qkv)[:-1],
    ):
        with pytest.raises(pytest.fail.Exception, match="not timed"), torch.no_grad():
            _error(Attention(wrong), batch)


def test_an_unwritten_row_shows():
    batch = batch_of(MIXED)

    def lazy(qkv):
        out = torch.empty_like(qkv[:, 0])
        out[:-1] = PROVIDERS[BUCKETED](MIXED).forward(qkv)[:-1]
        out[-1] = 7.0
        return out

    with pytest.raises(pytest.fail.Exception, match="relative error"), torch.no_grad():
        _error(Attention(lazy), batch)


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name not in ON_CPU])
def test_what_needs_a_gpu_says_so(provider):
    with pytest.raises(UnavailableError, match=r"GPU|CPU") as raised:
        PROVIDERS[provider](MIXED)
    assert refusal(raised.value) == str(raised.value)


def test_only_known_refusals_are_no_failures():
    assert refusal(RuntimeError("No available kernel. Aborting execution.")) is not None
    assert refusal(RuntimeError("cuDNN Frontend error: no plans\nmore")) is not None
    assert refusal(torch.OutOfMemoryError("CUDA out of memory. Tried")) == "out of memory"
    assert refusal(RuntimeError("an illegal memory access was encountered")) is None
    assert refusal(TypeError("got an unexpected keyword argument")) is None


def test_preparation_is_timed_apart():
    assert PROVIDERS[BUCKETED](MIXED).plan_s > 0
    assert PROVIDERS[PADDED](MIXED).plan_s is None
    assert list(PROVIDERS)[0] == TRITON  # noqa: RUF015


def test_padding_enters_and_leaves():
    rows = torch.arange(1.0, 7.0)[:, None]
    padding = Padding((2, 1, 3), 4, torch.float32, "cpu")
    dense = padding.enter(rows, noise=False)
    assert dense.squeeze().tolist() == [[1, 2, 0, 0], [3, 0, 0, 0], [4, 5, 6, 0]]
    assert torch.equal(padding.leave(dense), rows)
    assert padding.bias.shape == (3, 1, 1, 4)
    assert (padding.bias[:, 0, 0] == 0).tolist() == (dense.squeeze() > 0).tolist()
    noisy = padding.enter(rows, noise=True)
    assert (noisy != 0).all()
    assert torch.equal(padding.leave(noisy), rows)


class FakeBenchmark:
    def __init__(self):
        self.extra_info, self.rounds = {}, 0

    def pedantic(self, target, args, rounds, iterations):
        self.rounds = rounds
        target(*args)


def test_short_calls_are_timed_many_at_a_time(monkeypatch):
    case = Case("1 channel", 1, 96, torch.float32, "cpu")
    seen = []
    right = PROVIDERS[BUCKETED](case)

    def forward(qkv):
        seen.append(qkv.data_ptr())
        return right.forward(qkv)

    monkeypatch.setattr("bench_ragged_attention.EFFORT", {"cpu": (0.0, 0.0, 2, 3)})
    monkeypatch.setattr("bench_ragged_attention.calls_at_once", lambda seconds: 4)
    benchmark = FakeBenchmark()
    with torch.no_grad():
        _measure(benchmark, Attention(forward), batch_of(case))
    assert benchmark.rounds == 2
    assert benchmark.extra_info == {"graph_s": None}
    # Each call of a round reads inputs of its own.
    assert len(set(seen[-4:])) == 4
