"""Clocks count what is timed and nothing else."""

from contextlib import contextmanager, nullcontext

import device_clock
import pytest
import torch
from device_clock import (
    Clock,
    calls_at_once,
    graph_of,
    host_seconds,
    seconds_per_call,
    warm_up,
)


class FakeTime:
    """A clock on the wall that moves only when something sleeps."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def wall(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr(device_clock, "time", fake)
    return fake


def test_seconds_are_the_mean_of_a_call(wall):
    calls = [lambda: wall.sleep(1), lambda: wall.sleep(3)]
    assert seconds_per_call(calls, "cpu") == 2


def test_a_clock_stands_still_in_between(wall):
    clock = Clock()
    assert clock.read() == 0
    clock.run([lambda: wall.sleep(1)], "cpu")
    wall.sleep(50)
    assert clock.read() == 1
    clock.run([lambda: wall.sleep(2)] * 3, "cpu")
    assert clock.read() == 3


def test_events_surround_the_calls_after_the_cache_is_emptied(monkeypatch):
    happened = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            happened.append("record")

        def synchronize(self):
            happened.append("wait")

        def elapsed_time(self, end):
            assert isinstance(end, Event)
            return 6.0  # milliseconds

    class Cache:
        def zero_(self):
            happened.append("flush")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(device_clock, "_flush", Cache)
    calls = [lambda: happened.append("call")] * 3
    assert seconds_per_call(calls, "cuda") == pytest.approx(0.002)
    assert happened == ["flush", "record", "call", "call", "call", "record", "wait"]


def test_short_calls_are_timed_together():
    assert calls_at_once(10e-6) == 32
    assert calls_at_once(0.3e-3) == 4
    assert calls_at_once(2.0) == 1


def test_warming_up_takes_its_time_and_calls_at_least_once(wall):
    pauses = []

    def call():
        pauses.append(len(pauses))
        wall.sleep(5 - len(pauses))

    assert warm_up(call, "cpu", 0.0) == 4
    assert len(pauses) == 1
    assert warm_up(call, "cpu", 5.5) == 1  # 3, 2 and 1 second
    assert len(pauses) == 4


def test_preparation_is_timed_after_a_first_time(wall):
    pauses = iter([100, 1, 5, 2, 4, 3])
    assert host_seconds(lambda: wall.sleep(next(pauses)), "cpu") == 3
    assert next(pauses, None) is None


class FakeStream:
    def wait_stream(self, other):
        assert isinstance(other, FakeStream)


class FakeGraph:
    replays = 0

    def replay(self):
        self.replays += 1


@pytest.fixture
def streams(monkeypatch):
    """CUDA's current stream, as a recording leaves it: one that fails does not leave its own."""
    current = [FakeStream()]

    @contextmanager
    def graph(recorded, stream):
        before, current[0] = current[0], stream
        yield
        current[0] = before

    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "set_stream", lambda s: current.__setitem__(0, s))
    monkeypatch.setattr(torch.cuda, "stream", lambda s: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", graph)
    return current


def test_calls_are_warmed_up_before_they_are_recorded(streams):
    made = []
    replay = graph_of(lambda: [lambda: made.append(streams[0])] * 2)
    assert len(made) == 4
    assert made[0] is made[1] is streams[0]
    assert made[2] is made[3] is not streams[0]
    replay()
    assert len(made) == 4


def test_a_recording_that_fails_gives_the_stream_back(streams):
    before = streams[0]

    def call():
        if streams[0] is not before:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="capturing"):
        graph_of(lambda: [call])
    assert streams[0] is before
