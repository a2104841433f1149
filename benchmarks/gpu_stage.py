"""What all stages of `on_gpu.sh` share: where rows go, how long is left, and a dry run on a CPU."""

import csv
import os
import time
from pathlib import Path
from statistics import median

from device_clock import Call, seconds_per_call
from kept_rows import Row, current_commit
from machine import machine

DRY = bool(os.environ.get("ON_GPU_DRY"))
"""Whether to run tiny cases on a CPU, to try the script without a GPU."""
DEVICE = "cpu" if DRY else "cuda"
OUT = Path(os.environ.get("OUT", ".benchmarks/on_gpu"))
_STOP = time.perf_counter() + float(os.environ.get("ON_GPU_LIMIT", "100"))


def left() -> float:
    """Return the seconds until this stage is to end."""
    return _STOP - time.perf_counter()


def here() -> dict[str, object]:
    """Describe the device and the commit, which is given where there is no git."""
    return machine(DEVICE) | {"commit": os.environ.get("COMMIT") or current_commit()}


def timed(call: Call, rounds: int = 10) -> float:
    """Return the median seconds of a call, after three that do not count."""
    for _ in range(3):
        call()
    return median(seconds_per_call([call], DEVICE) for _ in range(rounds))


class Rows:
    """A table that is on the disk, row by row, as soon as each is measured."""

    def __init__(self, name: str, fields: tuple[str, ...]) -> None:
        OUT.mkdir(parents=True, exist_ok=True)
        path = OUT / name
        fresh = not path.exists()
        self._file = path.open("a", newline="")
        self._writer = csv.DictWriter(
            self._file, fields, extrasaction="ignore", lineterminator="\n"
        )
        if fresh:
            self._writer.writeheader()

    def add(self, row: Row) -> None:
        """Write a row."""
        short = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
        self._writer.writerow(short)
        self._file.flush()
        os.fsync(self._file.fileno())
