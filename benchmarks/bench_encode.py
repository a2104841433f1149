"""Images to embeddings: ours beside a padded implementation of the original, in one run.

``make bench`` runs this and then `encode_table.py`, which prints ratios and keeps the rows.
"""

from collections.abc import Callable

import pytest
import torch
from machine import processor
from padded_original import PaddedChAdaViT, fast_path
from workloads import SIDE, WORKLOADS

import zoo

OURS = "zoo"
# Rounds are few where one takes tens of seconds.
ROUNDS = {OURS: 7, "padded, fast path off": 3, "padded, fast path on": 1}
Encode = Callable[[list[torch.Tensor]], torch.Tensor]


@pytest.fixture(scope="module")
def providers() -> dict[str, Encode]:
    encoder = zoo.load("chadavit-untrained", device="cpu")
    padded = PaddedChAdaViT().eval()
    padded.load_state_dict(encoder.model.state_dict(), strict=True)

    def ours(images: list[torch.Tensor]) -> torch.Tensor:
        return encoder.encode(images, preprocess=False).embedding

    def original(enabled: bool) -> Encode:
        def encode(images: list[torch.Tensor]) -> torch.Tensor:
            with torch.inference_mode(), fast_path(enabled):
                return padded(torch.cat(images), [len(i) for i in images])[0]

        return encode

    return {
        OURS: ours,
        "padded, fast path off": original(False),
        "padded, fast path on": original(True),
    }


@pytest.mark.parametrize("provider", ROUNDS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_encode(benchmark, providers, workload: str, provider: str) -> None:
    draw = torch.Generator().manual_seed(0)
    images = [torch.rand(c, SIDE, SIDE, generator=draw) for c in WORKLOADS[workload]]
    encode = providers[provider]
    found = encode(images)  # warm-up, and the gate: what is wrong gets no time
    if provider != OURS:
        wanted = providers[OURS](images)
        worst = ((found - wanted).abs().max() / wanted.abs().max()).item()
        assert worst < 1e-4, f"{provider} differs by {worst:.1e}"
    benchmark.group = workload
    benchmark.extra_info.update(
        workload=workload,
        provider=provider,
        images=len(images),
        channels=sum(WORKLOADS[workload]),
        device="cpu",
        processor=processor(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    benchmark.pedantic(encode, args=(images,), rounds=ROUNDS[provider], iterations=1)
