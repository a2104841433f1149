"""Recordings for small batches; here they run again, as a CUDA graph would."""

import pytest
import torch
from zoo.plugins.encoders.chadavit_replay import CAPACITIES, Replay

import zoo


def run_again(run):
    """Record as a CUDA graph does: whatever runs later goes to where the first result lies."""
    with torch.inference_mode():
        result = run().clone()

    def replay():
        with torch.inference_mode():
            result.copy_(run())

    return replay, result


@pytest.fixture(scope="module")
def model():
    return zoo.load("chadavit-untrained", device="cpu").model


def batch(counts, seed=0, side=32):
    draw = torch.Generator().manual_seed(seed)
    places = torch.cat([torch.arange(c) for c in counts])
    return torch.rand(sum(counts), side, side, generator=draw), torch.tensor(counts), places


def direct(model, given, layer=None):
    with torch.inference_mode():
        return model(*given, layer=layer, cls_only=True)[0]


def test_one_recording_serves_batches_of_other_compositions(model):
    recorded = []

    def record(run):
        recorded.append(1)
        return run_again(run)

    replay = Replay(model, record)
    for seed, counts in enumerate([[5, 1], [2, 2, 2], [1] * 8, [7], [5, 1]]):
        given = batch(counts, seed)
        found = replay(*given, None)
        torch.testing.assert_close(found, direct(model, given), rtol=1e-4, atol=1e-5)
    assert len(recorded) == 1
    other = batch([3], side=48)
    torch.testing.assert_close(replay(*other, 2), direct(model, other, 2), rtol=1e-4, atol=1e-5)
    assert len(recorded) == 2


def test_what_an_earlier_batch_left_reaches_no_image(model):
    replay = Replay(model, run_again)
    planes, counts, places = batch([4])
    assert replay(torch.full_like(planes, torch.nan), counts, places, None).isnan().all()
    given = batch([2, 1], 3)
    torch.testing.assert_close(replay(*given, None), direct(model, given), rtol=1e-4, atol=1e-5)


def test_results_stay_when_the_next_batch_comes(model):
    replay = Replay(model, run_again)
    first = replay(*batch([2], 1), None)
    kept = first.clone()
    replay(*batch([2], 2), None)
    assert torch.equal(first, kept)


def test_large_batches_are_not_recorded(model):
    assert Replay(model, run_again)(*batch([1] * (CAPACITIES[-1] + 1)), None) is None


def test_a_recording_that_fails_is_said_once_and_everything_goes_on(model):
    def fail(run):
        raise RuntimeError("operation not permitted when stream is capturing")

    replay = Replay(model, fail)
    with pytest.warns(UserWarning, match="no CUDA graph could be recorded"):
        assert replay(*batch([1]), None) is None
    assert replay(*batch([1]), None) is None


def test_a_lack_of_memory_is_no_failure_to_record(model):
    def fail(run):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Replay(model, fail)(*batch([1]), None)
