"""The parts around the attention by number of rows, beside PyTorch's operators and other tiles.

Says too whether fewer rows a program give the bits of more: if so, small batches may use them, and
an image still gets the same embedding in any company.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from unittest import mock

import torch
from device_clock import graph_of, seconds_per_call
from encode_providers import ENCODER
from gpu_stage import DEVICE, DRY, Rows, here, left
from torch import Tensor
from zoo.kernels import norm_qkv, residual_mlp

# Private, because nobody but this script has a reason to change tile sizes.
from zoo.kernels._fused_layer_op import TILES, Tiles

import zoo

WIDTH, HIDDEN = 192, 2048
ROWS = (197, 589, 1961, 64 * 197, 132 * 128, 512 * 197)
SHIPPED, TORCH = "shipped", "torch"
WAYS: dict[str, Tiles | None] = {
    SHIPPED: None,
    TORCH: None,
    "64 x 64, 4 warps": Tiles(64, 64, 4, 2),
    "128 x 64, 3 stages": Tiles(128, 64, 8, 3),
    "128 x 32, 3 stages": Tiles(128, 32, 8, 3),
}
OPERATIONS = {"residual_mlp": 2 * WIDTH * (WIDTH + 2 * HIDDEN), "norm_qkv": 6 * WIDTH**2}
FIELDS = (
    *("kernel", "rows", "way", "median_s", "tflops", "same_bits", "problem"),
    *("device", "torch", "triton", "commit"),
)


def seconds_of(call: Callable[[], Tensor]) -> float:
    """Return the seconds of one of ten calls in a graph."""
    if DRY:
        return seconds_per_call([call], DEVICE)
    replay = graph_of(lambda: [call] * 10)
    replay()
    return median(seconds_per_call([replay], DEVICE) for _ in range(7)) / 10


def main() -> None:
    """Time all that there is time for."""
    dtype = torch.float32 if DRY else torch.bfloat16
    model = zoo.load(ENCODER, device=DEVICE, dtype=dtype).model
    weights = model.blocks[0].weights()
    table, device = Rows("layers.csv", FIELDS), here()
    for count in ROWS[: 1 if DRY else None]:
        x = torch.randn(count, WIDTH, device=DEVICE)
        mixed = torch.randn(count, WIDTH, device=DEVICE).to(x.dtype if DRY else torch.float16)
        calls: dict[str, Callable[..., Tensor]] = {
            "residual_mlp": partial(residual_mlp, x, mixed, weights),
            "norm_qkv": partial(norm_qkv, x, weights, dtype=dtype),
        }
        for kernel, run in calls.items():
            wanted: Tensor | None = None
            for way, tiles in WAYS.items():
                if left() < 2:
                    return
                row: dict[str, object] = {"kernel": kernel, "rows": count, "way": way} | device
                changed = {} if tiles is None else {kernel: (tiles, tiles)}
                try:
                    with torch.inference_mode(), mock.patch.dict(TILES, changed):
                        call = partial(run, backend=TORCH if way == TORCH else "triton")
                        found = call()
                        wanted = found if wanted is None else wanted
                        row["median_s"] = seconds = seconds_of(call)
                    row["tflops"] = OPERATIONS[kernel] * count / seconds / 1e12
                    row["same_bits"] = torch.equal(found, wanted)
                except Exception as failure:
                    row["problem"] = str(failure).strip().partition("\n")[0][:120]
                table.add(row)
                told = row.get("problem") or f"{row['tflops']:.1f} TFLOP/s, {row['same_bits']}"
                print(f"{kernel} {count} {way}: {told}", flush=True)


if __name__ == "__main__":
    main()
