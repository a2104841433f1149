"""Attention within the images of a batch: ours beside its rivals, in one run.

What is wrong gets no time. ``make bench`` runs this and then `attention_table.py`, which keeps the
rows and says who is faster. On a machine with a GPU this times the GPU, else the processor; `-k`
picks cases and providers by their names.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import median

import pytest
import torch
from attention_cases import Case, cases
from attention_gate import Gate, poison, relative_error
from attention_providers import PROVIDERS, Attention, calls_of, entered, refusal
from device_clock import Clock, calls_at_once, graph_of, seconds_per_call, warm_up
from machine import machine
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLOCK = Clock()
# Seconds to warm up and to measure for, and the fewest and the most rounds.
EFFORT = {"cuda": (0.05, 0.25, 10, 50), "cpu": (0.1, 1.5, 5, 20)}
_here = cache(machine)


def _plain(name: str) -> str:
    """Return a name that pytest's -k can pick."""
    return re.sub(r"\W+", "-", name).strip("-")


@dataclass
class Batch:
    """A case with its first inputs and the right answer."""

    case: Case
    inputs: tuple[Tensor, Tensor]
    gate: Gate


@pytest.fixture(scope="module", params=cases(DEVICE), ids=str)
def batch(request) -> Iterator[Batch]:
    case: Case = request.param
    qkv, grad = case.inputs(0)
    yield Batch(case, (qkv, grad), Gate.of(qkv, case.lengths, grad if case.backward else None))
    if DEVICE == "cuda":
        torch.cuda.empty_cache()


@pytest.mark.filterwarnings("default")  # what rivals warn of is shown, and stops nothing
@pytest.mark.benchmark(timer=CLOCK.read)
@pytest.mark.parametrize("provider", PROVIDERS, ids=_plain)
def test_ragged_attention(benchmark, batch: Batch, provider: str) -> None:
    case = batch.case
    benchmark.group = str(case)
    reason = None
    try:
        with torch.set_grad_enabled(case.backward):
            attention = PROVIDERS[provider](case)
            with attention.context():
                error = _error(attention, batch)
                _measure(benchmark, attention, batch)
    except Exception as failure:
        reason = refusal(failure)
        if reason is None:
            raise
    if reason is not None:
        if DEVICE == "cuda":  # here the failure no longer holds what it had allocated
            torch.cuda.empty_cache()
        pytest.skip(f"{provider}: {reason}")
    benchmark.extra_info.update(
        {"workload": case.workload, "provider": provider, "pass": case.direction},
        images=case.images,
        tokens=sum(case.lengths),
        heads=case.heads,
        head_size=case.size,
        dtype=case.arithmetic,
        scores=case.scores,
        relative_error=error,
        mask_s=attention.mask_s,
        plan_s=attention.plan_s,
        **_here(DEVICE),
    )


def _error(attention: Attention, batch: Batch) -> float:
    """Return the relative error of the answer; what is wrong fails the test."""
    poison(*batch.inputs)
    (call,) = calls_of(attention, batch.case, [entered(attention, batch.inputs)])
    answer = call()
    found = attention.leave(answer[0] if batch.case.backward else answer)
    wrong = batch.gate.refuse(found)
    if wrong is not None:
        pytest.fail(f"not timed: {wrong}")
    return relative_error(found, batch.gate.wanted)


def _measure(benchmark, attention: Attention, batch: Batch) -> None:
    case = batch.case
    warm, budget, fewest, most = EFFORT[case.device]
    first = entered(attention, batch.inputs)
    seconds = warm_up(calls_of(attention, case, [first])[0], case.device, warm)
    more = [entered(attention, case.inputs(seed)) for seed in range(1, calls_at_once(seconds))]
    inputs = [first, *more]
    calls = calls_of(attention, case, inputs)
    seconds_per_call(calls, case.device)
    rounds = max(fewest, min(most, int(budget / (seconds * len(calls)))))
    benchmark.pedantic(CLOCK.run, args=(calls, case.device), rounds=rounds, iterations=1)
    benchmark.extra_info["graph_s"] = None
    if case.device == "cuda" and attention.graph and len(calls) > 1:
        try:
            replay = graph_of(lambda: calls_of(attention, case, inputs))
            replay()
            times = [seconds_per_call([replay], case.device) for _ in range(rounds)]
            benchmark.extra_info["graph_s"] = median(times) / len(calls)
        except Exception as failure:  # the time without a graph stands
            warnings.warn(f"no CUDA graph: {failure}", stacklevel=1)
