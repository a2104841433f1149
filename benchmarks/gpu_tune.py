"""Other tiles of the attention kernels for heads of 16: emulated exponentials first."""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import tune_ragged_attention as tuning
from gpu_stage import DEVICE, DRY, Rows, here, left

SIZE = 16
IMAGES = 2 if DRY else tuning.IMAGES
WORKERS = 2 if DRY else 10


def candidates(kernel: str) -> list[tuning.Tiles]:
    """Return the tiles to try in the first round; those in use with other shares come first."""
    found = tuning.shapes(kernel, SIZE)
    if kernel == "forward":
        shares = [replace(found[0], emulated=eighths) for eighths in tuning.EMULATED]
        found = list(dict.fromkeys([found[0], *shares, *found]))
    return found[: 2 if DRY else None]


def main() -> None:
    """Try all that there is time for."""
    kernels = ("forward",) if DRY else tuning.KERNELS
    rows, device, seen = Rows("tiles.csv", tuning.FIELDS), here(), list[tuning.Row]()
    todo = {kernel: candidates(kernel) for kernel in kernels}
    try:
        with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
            for _ in range(2):
                jobs = {
                    (kernel, tiles): pool.submit(
                        tuning.compiled, kernel, SIZE, tiles, DEVICE, IMAGES
                    )
                    for kernel, found in todo.items()
                    for tiles in found
                }
                for (kernel, tiles), job in jobs.items():
                    job.result(timeout=max(1, left() - 2))
                    for workload in tuning.WORKLOADS:
                        row = tuning.measured(kernel, SIZE, tiles, workload, DEVICE, IMAGES)
                        seen.append(row)
                        rows.add(row | device)
                fastest = {k: tuning.best(r for r in seen if r["kernel"] == k) for k in kernels}
                todo = {k: tuning.refinements(k, one[0]) for k, one in fastest.items() if one}
    except TimeoutError:
        print("no time for more candidates")
    print("\n".join(tuning.summary(seen)), flush=True)
    os._exit(0)  # workers may still compile


if __name__ == "__main__":
    main()
