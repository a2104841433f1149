"""Planes to embeddings: ours beside its rivals and beside what the machine can do, in one run.

What is wrong gets no time. ``make bench`` runs this and then `encode_table.py`, which keeps the
rows and prints ratios. On a machine with a GPU this times the GPU, else the processor; `-k` picks
cases and providers by their names.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from statistics import median

import pytest
import torch
from device_clock import Clock, calls_at_once, seconds_per_call, warm_up
from encode_cases import DIM, HIDDEN, Case, cases
from encode_gate import LIMITS, exact
from encode_providers import ENCODER, OURS, PADDED, PROVIDERS, UnavailableError
from machine import machine
from padded_original import PaddedChAdaViT
from peak_memory import peak_mib
from torch import Tensor

import zoo

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLOCK = Clock()
# Seconds to warm up and to measure for, and the fewest and the most rounds.
EFFORT = {"cuda": (0.2, 1.0, 7, 30), "cpu": (0.1, 12.0, 2, 9)}
_here = cache(machine)


class Product:
    """A matrix product, to time by turns with what is beside it: the pace of a machine drifts.

    On a processor the large one of the MLP, on a GPU a larger one, which fills it.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        rows, inner, columns = (2048, DIM, HIDDEN) if DEVICE == "cpu" else (8192, 8192, 8192)
        a = torch.randn(rows, inner, device=DEVICE).to(dtype)
        b = torch.randn(inner, columns, device=DEVICE).to(dtype)
        self._call = partial(torch.mm, a, b)
        self._operations = 2 * rows * inner * columns
        self._seconds: list[float] = []
        warm_up(self._call, DEVICE, 0.1)

    def run(self) -> None:
        """Time a few."""
        self._seconds.append(seconds_per_call([self._call] * 5, DEVICE))

    @property
    def rate(self) -> float:
        """Operations a second, by the median."""
        return self._operations / median(self._seconds)


@dataclass
class Batch:
    """A case with its first batch and the right answer."""

    case: Case
    first: zoo.ImageBatch
    wanted: Tensor


@pytest.fixture(scope="module", params=cases(DEVICE), ids=str)
def batch(request) -> Iterator[Batch]:
    case: Case = request.param
    yield Batch(case, case.batch(0), exact(case))
    exact.cache_clear()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()


@pytest.mark.filterwarnings("default")  # what rivals warn of is shown, and stops nothing
@pytest.mark.benchmark(timer=CLOCK.read)
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda name: re.sub(r"\W+", "-", name))
def test_encode(benchmark, batch: Batch, provider: str) -> None:
    case = batch.case
    benchmark.group = str(case)
    try:
        encode = PROVIDERS[provider](case).encode
        found = encode(batch.first)
    except (UnavailableError, torch.OutOfMemoryError) as error:
        pytest.skip(f"{provider}: {error}")
    error = ((found.double() - batch.wanted).norm() / batch.wanted.norm()).item()
    assert error < LIMITS[case.arithmetic], f"not timed: {provider} differs by {error:.1e}"

    warm, budget, fewest, most = EFFORT[DEVICE]
    seconds = warm_up(partial(encode, batch.first), DEVICE, warm)
    # Each call has a batch of its own, so that none is in the cache of a GPU.
    batches = [batch.first]
    if DEVICE == "cuda":
        batches += [case.batch(seed) for seed in range(1, min(8, calls_at_once(seconds)))]
    calls = [partial(encode, one) for one in batches]
    rounds = max(fewest, min(most, int(budget / (seconds * len(calls)))))
    product = Product(case.dtype)

    def by_turns() -> None:  # only the calls are on the clock
        product.run()
        CLOCK.run(calls, DEVICE)
        product.run()

    benchmark.pedantic(by_turns, rounds=rounds, iterations=1)
    benchmark.extra_info.update(
        workload=case.workload,
        provider=provider,
        images=case.images,
        channels=sum(case.counts),
        dtype=case.arithmetic,
        relative_error=error,
        peak_mib=peak_mib(calls[0], DEVICE),
        operations=case.operations,
        exponentials=case.exponentials,
        bytes=case.bytes,
        product_rate=product.rate,
        **_here(DEVICE),
    )


# Fine-tuning: forward, backward and AdamW, as `torch.amp` would have it on a GPU.
TRAINED = {"cuda": 64, "cpu": 4}
TRAINERS = (OURS, PADDED)


@pytest.mark.benchmark(timer=CLOCK.read)
@pytest.mark.parametrize("provider", TRAINERS)
@pytest.mark.parametrize("workload", ["3 channels", "long-tailed"])
def test_training_step(benchmark, workload: str, provider: str) -> None:
    dtype = torch.bfloat16 if DEVICE == "cuda" else torch.float32
    case = Case(workload, TRAINED[DEVICE], dtype, DEVICE)
    benchmark.group = f"{case}, training step"
    first = Case(workload, TRAINED[DEVICE], torch.float32, DEVICE).batch(0)
    state = zoo.load(ENCODER, device="cpu").model.state_dict()
    places = torch.cat([torch.arange(c) for c in case.counts])
    if provider == OURS:
        model = zoo.load(ENCODER, device=DEVICE, dtype="float32").model.train()
        embed = partial(model, first.planes, first.counts, places, cls_only=True)
    else:
        model = PaddedChAdaViT().to(DEVICE).train()
        model.load_state_dict(state)
        for block in model.blocks:
            block.self_attn.dropout = 0.0
        embed = partial(model, first.planes, list(case.counts))
    goal = torch.randn(case.images, DIM, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    losses = []

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, dtype, enabled=dtype != torch.float32):
            cls = embed()[0]
        loss = (cls.float() - goal).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())

    seconds = warm_up(step, DEVICE, 0.1)
    _, budget, fewest, most = EFFORT[DEVICE]
    rounds = max(fewest, min(most, int(budget / seconds)))
    benchmark.pedantic(CLOCK.run, args=([step], DEVICE), rounds=rounds, iterations=1)
    assert losses[-1] < losses[0], "the loss does not fall"
    benchmark.extra_info.update(
        workload=f"{workload}, training step",
        provider=provider,
        images=case.images,
        channels=sum(case.counts),
        dtype=case.arithmetic,
        peak_mib=peak_mib(step, DEVICE),
        **_here(DEVICE),
    )
