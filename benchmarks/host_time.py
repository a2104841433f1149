"""Time that the host needs for a pass of ChAda-ViT on a GPU, without one: launches do nothing.

Planes have 32 pixels a side, so that the memory of a processor, which is not that of a GPU, costs
nothing either. Launches come on top; `gpu_host.py` times all on a GPU.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from unittest.mock import patch

import torch
from machine import machine
from zoo.kernels import _fused_layer_op, _pack_tokens_op, _ragged_attention_op

import zoo

BATCHES = ([1] * 65, [3] * 22, [1] * 128, [1] * 256, [3] * 85, [1, 2, 3, 4, 5] * 17)
SIDE, ROUNDS = 32, 50


@contextmanager
def launches_mocked() -> Iterator[list[tuple[int, ...]]]:
    """Take the path of a GPU with large tiles and launch nothing; yield the grids it would have."""
    grids: list[tuple[int, ...]] = []

    def launch(kernel: object, grid: tuple[int, ...], *others: object) -> None:
        grids.append(grid)

    tiles = {name: large for name, (large, _) in _fused_layer_op.TILES.items()}
    with ExitStack() as stack:
        for module in (_fused_layer_op, _pack_tokens_op, _ragged_attention_op):
            stack.enter_context(patch.object(module, "launch", launch))
        for module in (_fused_layer_op, _ragged_attention_op):
            stack.enter_context(patch.object(module, "why_no_gpu", lambda device: None))
        for module in (_fused_layer_op, _pack_tokens_op):
            given = patch.object(module, "tiles_for", lambda kernel, device: tiles[kernel])
            stack.enter_context(given)
        yield grids


class Pass:
    """One pass of the network over images of these channel counts, in half precision."""

    def __init__(self, counts: list[int]) -> None:
        encoder = zoo.load("chadavit-untrained", device="cpu").to(dtype=torch.bfloat16)
        position = encoder.model.pos_embed
        position.data = position.data[:, :, : 1 + (SIDE // encoder.model.patch_size) ** 2]
        encoder.model.grid = SIDE // encoder.model.patch_size
        self._model = encoder.model
        self._planes = torch.zeros(sum(counts), SIDE, SIDE)
        self._counts = torch.tensor(counts)
        self._places = torch.cat([torch.arange(count) for count in counts])

    def __call__(self) -> None:
        """Compute nothing, as fast as the host can."""
        with torch.inference_mode():
            self._model(self._planes, self._counts, self._places, cls_only=True)


def main() -> None:
    """Print the median of each batch."""
    torch.set_num_threads(1)
    print(machine("cpu"))
    with launches_mocked():
        for counts in BATCHES:
            run = Pass(counts)
            run()
            seconds = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - start)
            what = f"{len(counts)} images, {sum(counts)} planes"
            print(f"{what}: {1e3 * median(seconds):.2f} ms, at best {1e3 * min(seconds):.2f}")


if __name__ == "__main__":
    main()
