"""Recordings for small batches; here they run again, as a CUDA graph would."""

import contextlib

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from zoo.plugins.encoders import chadavit_model
from zoo.plugins.encoders.chadavit_replay import Replay, record_cuda_graph

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


def operators(run):
    """Record as a CUDA graph does: operators with the numbers that Python gave them."""
    graph = make_fx(run)()
    result = graph()
    return (lambda: result.copy_(graph())), result


def attention_of_tensors(qkv, cu_seqlens, *, plan, first_only=False, dtype=None):
    """Attend as the Triton kernels do, which read the sequences from tensors when they run."""
    rows = torch.arange(len(qkv))
    sequence = (rows[:, None] >= cu_seqlens[1:]).sum(1)
    queries, keys, values = (part.transpose(0, 1) for part in qkv.nan_to_num(0, 0, 0).unbind(1))
    scores = torch.einsum("hid,hjd->hij", queries, keys) / qkv.shape[-1] ** 0.5
    scores = scores.masked_fill(sequence[:, None] != sequence, -torch.inf)
    mixed = torch.einsum("hij,hjd->ihd", scores.softmax(-1), values)
    return mixed[cu_seqlens[:-1].clamp(max=len(qkv) - 1).long()] if first_only else mixed


COMPOSITIONS = [[1, 1, 1], [1, 1, 1, 1], [4], [2, 2], [3], [1, 3]]


@pytest.mark.parametrize("first", range(4))
def test_operators_recorded_with_one_batch_serve_all_of_its_room(monkeypatch, model, first):
    """`run_again` runs Python again, which sees the new batch; a graph does not."""
    monkeypatch.setattr(chadavit_model, "ragged_attention", attention_of_tensors)
    recorded = []

    def record(run):
        recorded.append(1)
        return operators(run)

    replay = Replay(model, record)
    for seed, counts in enumerate(COMPOSITIONS[first:] + COMPOSITIONS[:first]):
        given = batch(counts, seed)
        with torch.inference_mode():
            found = replay(*given, None)
        torch.testing.assert_close(found, direct(model, given), rtol=1e-4, atol=1e-5)
    assert len(recorded) == 1


def test_a_recording_that_fails_leaves_the_stream_as_it_was(monkeypatch):
    """With streams and graphs that only note what is done with them."""
    streams = ["caller's"]

    class Stream:
        def wait_stream(self, other):
            pass

    class Graph:
        def __init__(self, graph, *, stream, capture_error_mode):
            assert capture_error_mode == "thread_local"
            self.stream = stream

        def __enter__(self):
            streams[0] = self.stream

        def __exit__(self, *error):
            raise RuntimeError("capture failed")  # as capture_end does, before the stream is left

    caller = Stream()
    streams[0] = caller
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: streams[0])
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: streams.__setitem__(0, stream))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", Graph)
    with pytest.raises(RuntimeError, match="capture failed"):
        record_cuda_graph(lambda: torch.zeros(1))
    assert streams[0] is caller


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


def counting(recorded):
    def record(run):
        recorded.append(1)
        return run_again(run)

    return record


@pytest.mark.parametrize(("side", "most"), [(32, 256), (512, 32), (1024, 8)])
def test_batches_that_fill_a_gpu_are_not_recorded(model, side, most):
    """256 planes of 224 pixels, or as many tokens."""
    recorded = []

    def refuse(run):
        recorded.append(1)
        raise torch.OutOfMemoryError  # in place of computing

    replay = Replay(model, refuse)
    assert replay(*batch([1] * (most + 1), side=side), None) is None
    assert not recorded
    with pytest.raises(torch.OutOfMemoryError):
        replay(*batch([1] * most, side=side), None)
    assert recorded


def test_graphs_of_the_size_that_was_asked_for_longest_ago_are_dropped(model):
    recorded = []
    replay = Replay(model, counting(recorded))
    for side in (32, 48, 32, 64, 32):  # 48 goes when 64 comes
        given = batch([2], side=side)
        torch.testing.assert_close(replay(*given, None), direct(model, given), rtol=1e-4, atol=1e-5)
    assert len(recorded) == 3
    replay(*batch([2], side=48), None)
    assert len(recorded) == 4


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
