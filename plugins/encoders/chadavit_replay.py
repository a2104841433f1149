"""CUDA graphs for small batches, where launching kernels takes longer than computing."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from zoo.kernels import TokenLayout

CAPACITIES = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256)
"""Numbers of planes that graphs are recorded for; with more the GPU is slower than the host."""
MOST_ROWS = 256 * 197
"""Tokens that a graph is recorded for: planes of 1024 pixels fill a GPU sixteen times as fast."""
SIZES = 2
"""Sizes of planes whose graphs are kept, for each graph holds its memory."""
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]


def record_cuda_graph(run: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
    """Record what `run` launches; return what launches it again, and where the result will be."""
    before, stream = torch.cuda.current_stream(), torch.cuda.Stream()
    stream.wait_stream(before)
    with torch.cuda.stream(stream):  # compiles the kernels, which a recording may not
        for _ in range(2):
            run()
    before.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        # Other threads may use the GPU meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = run()
    finally:
        # A recording that fails leaves the process on its stream, which nothing waits for.
        torch.cuda.set_stream(before)
    return graph.replay, result


class Network(Protocol):
    """What is recorded: a network that lays out a batch, and encodes a layout."""

    patch_size: int

    def layout(
        self, planes: Tensor, counts: Tensor, places: Tensor, *, room: int | None = None
    ) -> TokenLayout:
        """Lay out a batch, with room for up to `room` planes."""
        ...

    def encode(
        self, planes: Tensor, layout: TokenLayout, *, layer: int | None, cls_only: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the CLS rows, and others."""
        ...


@dataclass
class _Recording:
    planes: Tensor
    layout: TokenLayout
    replay: Callable[[], object]
    result: Tensor


class Replay:
    """CLS embeddings of small batches, from one graph for each capacity, size and layer.

    When planes of a third size come, the graphs of the size that was asked for longest ago are
    dropped. Unused planes hold data of an earlier batch; they form sequences of their own, to which
    no image attends.

    Parameters
    ----------
    model
        The network, on its final device and in its final types.
    record
        Records a graph; tests on a CPU pass a function that runs the network again.
    """

    def __init__(self, model: Network, record: Record = record_cuda_graph) -> None:
        self._model = model
        self._record = record
        # By the size of planes, that of the last batch last; then by capacity and layer.
        self._recordings: dict[tuple[int, ...], dict[tuple[int, int | None], _Recording]] = {}
        self._refused = False

    def __call__(
        self, planes: Tensor, counts: Tensor, places: Tensor, layer: int | None
    ) -> Tensor | None:
        """Return `(B, D)`, or None for a batch that has to run without a graph."""
        capacity = self._capacity(planes)
        if self._refused or capacity is None:
            return None
        layout = self._model.layout(planes, counts, places, room=capacity)
        with torch.cuda.device_of(planes):
            recording = self._recording(capacity, planes, layout, layer)
            if recording is None:
                return None
            recording.planes[: len(planes)].copy_(planes, non_blocking=True)
            recording.layout.copy_(layout)
            recording.replay()
            return recording.result[: len(counts)].clone()

    def _capacity(self, planes: Tensor) -> int | None:
        """Return how many planes to record for; None for a batch that keeps a GPU busy."""
        rows = 1 + planes[0].numel() // self._model.patch_size**2
        fitting = (c for c in CAPACITIES if len(planes) <= c <= MOST_ROWS // rows)
        return next(fitting, None)

    def _recording(
        self, capacity: int, planes: Tensor, layout: TokenLayout, layer: int | None
    ) -> _Recording | None:
        size, key = tuple(planes.shape[1:]), (capacity, layer)
        of_size = self._recordings[size] = self._recordings.pop(size, {})
        while len(self._recordings) > SIZES:
            del self._recordings[next(iter(self._recordings))]
        if key not in of_size:
            # Zeros: memory may hold numbers that are not finite, or subnormal and slow on a CPU.
            still = planes.new_zeros((capacity, *planes.shape[1:]))

            def run() -> Tensor:
                return self._model.encode(still, layout, layer=layer, cls_only=True)[0]

            try:
                replay, result = self._record(run)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._refused = True
                warnings.warn(
                    f"no CUDA graph could be recorded ({error}): small batches are launched kernel "
                    "by kernel, which gives the same numbers more slowly",
                    stacklevel=2,
                )
                return None
            of_size[key] = _Recording(still, layout, replay, result)
        return of_size[key]
