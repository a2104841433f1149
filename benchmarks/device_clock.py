"""Seconds of a call: by events on a GPU, by the clock on the wall elsewhere."""

import math
import time
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

Call = Callable[[], object]
FLUSH = 2**28
"""Bytes written between measurements, several times the second-level cache of any GPU."""
SHORT = 1e-3
"""Seconds below which calls are timed many at a time."""


class Clock:
    """A clock that runs only while calls are timed, as the timer of pytest-benchmark.

    Whatever else happens between two readings, such as emptying the cache, takes no time.
    """

    def __init__(self) -> None:
        self._seconds = 0.0

    def read(self) -> float:
        """Return the seconds so far."""
        return self._seconds

    def run(self, calls: Sequence[Call], device: str) -> None:
        """Make the calls; the clock goes on by the mean of one."""
        self._seconds += seconds_per_call(calls, device)


def seconds_per_call(calls: Sequence[Call], device: str) -> float:
    """Make each call once, one right after the other, and return the mean seconds of one.

    Each call is to have inputs of its own, so that no input is in the cache of a GPU.
    """
    if device != "cuda":
        start = time.perf_counter()
        for call in calls:
            call()
        return (time.perf_counter() - start) / len(calls)
    start_event = torch.cuda.Event(enable_timing=True)
    end_event = torch.cuda.Event(enable_timing=True)
    # Emptying the cache also keeps the GPU busy while the first launches are queued.
    _flush().zero_()
    start_event.record()
    for call in calls:
        call()
    end_event.record()
    end_event.synchronize()
    return start_event.elapsed_time(end_event) / 1e3 / len(calls)


@cache
def _flush() -> Tensor:
    return torch.empty(FLUSH, dtype=torch.int8, device="cuda")


def warm_up(call: Call, device: str, seconds: float) -> float:
    """Repeat a call for so long that clocks are up; return the shortest seconds of one."""
    shortest = math.inf
    stop = time.perf_counter() + seconds
    while True:
        shortest = min(shortest, seconds_per_call([call], device))
        if time.perf_counter() >= stop:
            return shortest


def calls_at_once(seconds: float) -> int:
    """Return how many calls to time together, given the seconds of one."""
    return max(1, min(32, math.ceil(SHORT / seconds)))


def graph_of(make_calls: Callable[[], Sequence[Call]]) -> Call:
    """Record calls as one CUDA graph, and return what replays it.

    The calls are made and warmed up on the stream that records: autograd goes backward on the
    stream on which it went forward.
    """
    before = torch.cuda.current_stream()
    stream = torch.cuda.Stream()
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        calls = make_calls()
        for call in calls:
            call()
    before.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            for call in calls:
                call()
    finally:  # a recording that fails stays on its stream
        torch.cuda.set_stream(before)
    # The graph reads the inputs of the calls, so that they must live as long.
    return lambda kept=calls: graph.replay()


def host_seconds(make: Call, device: str, rounds: int = 5) -> float:
    """Return the median seconds of something that the host does, GPU waited for."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        make()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[rounds // 2]
