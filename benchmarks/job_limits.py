"""What large jobs take: memory by the number and the size of images, and time and memory to plan.

Usage: python benchmarks/job_limits.py [--images 20000] [--rows 1000000] [--only WHAT ...]
           [--out FILE.csv]

Every row is of one command `zoo embed SOURCE -o FOLDER`, watched from outside: its resident memory
(RSS) once so many images are done, the peak until then, and the seconds since its start.

- `small`: many images of 2 × 96 × 96 pixels with 8 bits. Is memory flat?
- `large`: images of 5 × 2160 × 2160 pixels with 16 bits, beside as many of 5 × 256 × 256, which are
  the same work for the encoder. What does reading take?
- `plan`: a table of two channels in CellProfiler's LoadData form, until its job is planned; then
  the command is killed and started again, until the first further shard is done. The middle of
  three runs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import kept_rows
import numpy as np
import pandas as pd
import tifffile
from machine import machine
from peak_memory import status

FIELDS = (
    *("what", "encoder", "images", "channels", "height", "width", "done", "seconds", "rss_mib"),
    *("peak_mib", "device", "torch", "threads", "commit"),
)
SMALL = "constant"  # the encoder that takes least
FILES = 20_000  # of the table: rows name the same ones again
PLATE, SITES = 384, 9


class Watched:
    """A job that runs, and what the system says of its memory."""

    def __init__(self, source: Path, out: Path, encoder: str, *options: object) -> None:
        command = [sys.executable, "-P", "-m", "zoo", "embed", source, "-e", encoder, "-o", out]
        self.out = out
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            list(map(str, [*command, *options])), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def when(self, reached: Callable[[], bool]) -> dict[str, float]:
        """Wait for something, and return the seconds and the memory until then."""
        found = self._memory()
        while not reached():
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
            found = self._memory() or found
        return {"seconds": time.perf_counter() - self.began, **found}

    def parts(self) -> int:
        """Return how many shards are done."""
        return sum(1 for _ in self.out.glob("parts/*.parquet"))

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.communicate()

    def finish(self, parts: int) -> dict[str, float]:
        """Return what is found once all parts are there, and wait for its end."""
        found = self.when(lambda: self.parts() >= parts)
        printed = self.process.communicate()[0].decode()
        if self.process.returncode:
            raise SystemExit(printed)
        return found

    def _memory(self) -> dict[str, float]:
        fields = {"rss_mib": "VmRSS", "peak_mib": "VmHWM"}
        try:
            return {k: status(field, self.process.pid) / 1024 for k, field in fields.items()}
        except (OSError, StopIteration):  # it has ended
            return {}


def write_images(folder: Path, count: int, shape: tuple[int, ...], dtype: str) -> None:
    """Write images that differ; the compression is that of a microscope's export."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 200, shape).astype(dtype)
    for i in range(count):
        image = np.roll(first, i, -1)
        tifffile.imwrite(
            folder / f"{i:05d}.tif", image, compression="lzw", photometric="minisblack"
        )


def small(place: Path, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Watch the memory while many small images are embedded."""
    images, shape, shard = arguments.images, (2, 96, 96), 200
    folder = place / "images"
    folder.mkdir()
    write_images(folder, images, shape, "u1")
    job = Watched(folder, place / "job", SMALL, "--shard-size", shard)
    rows = []
    for part in sorted({1, 2, 10, images // shard // 2}):
        found = job.when(lambda part=part: job.parts() >= part)
        rows.append({"done": shard * part, **found})
    rows.append({"done": images, **job.finish(images // shard)})
    return [_row("small", SMALL, images, shape, row) for row in rows]


def large(place: Path, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Watch the memory of large and of small images that are the same work."""
    rows = []
    encoder, images = arguments.encoder, 32
    for side in (256, 2160):
        folder = place / f"{side}"
        folder.mkdir()
        write_images(folder, images, (5, side, side), "u2")
        job = Watched(folder, place / f"job-{side}", encoder, "--shard-size", images)
        row = {"done": images, **job.finish(1)}
        rows.append(_row("large", encoder, images, (5, side, side), row))
    return rows


def plan(place: Path, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Time until a job of many rows is planned, and until it goes on."""
    folder = place / "files"
    folder.mkdir()
    write_images(folder, 1, (64, 64), "u2")
    for i in range(1, FILES):
        os.link(folder / "00000.tif", folder / f"{i:05d}.tif")
    i = np.arange(arguments.rows)
    names = np.array([f"{k:05d}.tif" for k in range(FILES)])
    wells = np.array([f"{r}{c:02d}" for r in "ABCDEFGHIJKLMNOP" for c in range(1, 25)])
    table = pd.DataFrame(
        {
            "FileName_DNA": names[2 * i % FILES],
            "PathName_DNA": str(folder),
            "FileName_ER": names[(2 * i + 1) % FILES],
            "PathName_ER": str(folder),
            "Metadata_Plate": (i // (PLATE * SITES)).astype(str),
            "Metadata_Well": wells[i // SITES % PLATE],
            "Metadata_Site": i % SITES + 1,
        }
    )
    source = place / "load_data.csv"
    table.to_csv(source, index=False)
    runs = [_planned(source, place / f"job-{run}") for run in range(3)]
    rows = sorted(runs, key=lambda rows: rows[0]["seconds"])[1]
    return [_row("plan", SMALL, arguments.rows, (2, 64, 64), row) for row in rows]


def _planned(source: Path, out: Path) -> list[dict[str, float]]:
    """Plan a job, kill it, and let it go on."""
    job = Watched(source, out, SMALL, "--shard-size", 100)
    planned = job.when((out / "job.json").exists)
    job.when(lambda: job.parts() > 0)
    job.kill()
    before = job.parts()
    job = Watched(source, out, SMALL, "--shard-size", 100)
    going = job.when(lambda: job.parts() > before)
    job.kill()
    return [{"done": 0, **planned}, {"done": 100 * before, **going}]


def _row(
    what: str, encoder: str, images: int, shape: tuple[int, ...], row: Mapping[str, object]
) -> dict[str, object]:
    channels, height, width = shape
    sizes = {"channels": channels, "height": height, "width": width}
    return {"what": what, "encoder": encoder, "images": images, **sizes, **row}


WAYS = {"small": small, "large": large, "plan": plan}


def main() -> None:
    """Measure, keep the rows, print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--encoder", default="chadavit-untrained")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, default=kept_rows.RESULTS / "job-limits.csv")
    arguments = parser.parse_args()
    os.environ.setdefault("ZOO_PLUGINS", "")
    here = machine("cpu") | {"commit": kept_rows.current_commit()}
    rows: list[dict[str, object]] = []
    for what in arguments.only:
        with tempfile.TemporaryDirectory() as place:
            rows += [row | here for row in WAYS[what](Path(place), arguments)]
    kept_rows.write(arguments.out, FIELDS, rows)
    print(arguments.out.read_text())


if __name__ == "__main__":
    main()
