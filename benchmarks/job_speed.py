"""Jobs from TIFF files to Parquet beside the encoder alone, and several workers beside one process.

Usage: python benchmarks/job_speed.py [--images 128] [--rounds 3] [--encoder NAME] [--ray PYTHON]
           [--out FILE.csv]

The encoder alone gets prepared tensors of as many images at a time, and does not read, prepare or
write. A job's rate is that between its parts: from when the first is written (the second, for two
workers) to the last, so that neither the start of Python nor that of Ray counts; `whole_s` is the
command's time with all of that. Files were just written, so that the system has them in memory.
Ways take turns; rates are medians of rounds, and shares are medians of the ratios within a round.
`--ray` names a Python that has zoo and Ray, which takes part in the first case. Images are random
blobs with noise, 12 bits.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import kept_rows
import numpy as np
import tifffile
import torch
from machine import machine

import zoo

SHARD = 16
CASES = (
    ("lzw", 520, 696, 3),
    ("lzw", 520, 696, 5),
    ("deflate", 1080, 1080, 3),
    ("deflate", 1080, 1080, 5),
)
FIELDS = (
    *("encoder", "codec", "height", "width", "channels", "images", "bytes", "way"),
    *("images_per_s", "share_of_encoder", "share_of_two_workers", "whole_s", "rounds"),
    *("device", "torch", "threads", "commit"),
)


def write_images(
    folder: Path, codec: str, height: int, width: int, channels: int, count: int
) -> int:
    """Write stacks of one plane for each channel; returns their bytes."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    cells = [gaussian_filter(rng.random((height, width)), 6) for _ in range(channels)]
    for i in range(count):
        planes = [
            3000 * (np.roll(c, 37 * i, (0, 1)) - c.min()) / np.ptp(c) + rng.normal(200, 15, c.shape)
            for c in cells
        ]
        compression = {"lzw": "lzw", "deflate": "adobe_deflate"}[codec]
        tifffile.imwrite(
            folder / f"{i:04d}.tif",
            np.clip(planes, 0, 4095).astype(np.uint16),
            compression=compression,
            photometric="minisblack",
            predictor=True,
        )
    return sum(file.stat().st_size for file in folder.iterdir())


def encoder_alone(name: str, folder: Path) -> Callable[[], tuple[float, float]]:
    """Return what times the encoder on prepared images."""
    encoder = zoo.load(name, device="cpu")
    images = zoo.open_images(folder)
    planes = [encoder.prepare(images[i].pixels, "image") for i in range(len(images))]
    counts = torch.tensor([len(p) for p in planes])
    batches = [
        zoo.ImageBatch(torch.cat(planes[i : i + SHARD]), counts[i : i + SHARD])
        for i in range(0, len(planes), SHARD)
    ]

    def run() -> tuple[float, float]:
        began = time.perf_counter()
        for batch in batches:
            encoder.encode(batch, preprocess=False)
        taken = time.perf_counter() - began
        return len(planes) / taken, taken

    return run


def job(python: str, name: str, folder: Path, *options: str) -> Callable[[], tuple[float, float]]:
    """Return what times a job."""
    workers = int(options[-1]) if options else 1

    def run() -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as place:
            out = Path(place, "job")
            command = [python, "-P", "-m", "zoo", "embed", str(folder), "-e", name, "-o", str(out)]
            began = time.perf_counter()
            subprocess.run(
                [*command, "--shard-size", str(SHARD), *options], check=True, capture_output=True
            )
            whole = time.perf_counter() - began
            written = sorted(part.stat().st_mtime for part in out.glob("parts/*.parquet"))
        return SHARD * (len(written) - workers) / (written[-1] - written[workers - 1]), whole

    return run


def measure(
    case: tuple[str, int, int, int], arguments: argparse.Namespace
) -> list[dict[str, object]]:
    """Time all ways by turns."""
    codec, height, width, channels = case
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        size = write_images(folder, codec, height, width, channels, arguments.images)
        name = arguments.encoder
        ways = {
            "encoder alone": encoder_alone(name, folder),
            "job": job(sys.executable, name, folder),
            "job, 2 workers": job(sys.executable, name, folder, "--workers", "2"),
        }
        if arguments.ray and case == CASES[0]:
            ways["job, Ray, 2 workers"] = job(
                arguments.ray, name, folder, "--engine", "ray", "--workers", "2"
            )
        rates: dict[str, list[float]] = {way: [] for way in ways}
        whole: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(arguments.rounds):
            for way in sorted(ways, reverse=bool(turn % 2)):
                rate, taken = ways[way]()
                rates[way].append(rate)
                whole[way].append(taken)
                print(case, way, f"{rate:.3g} images/s, {taken:.1f} s", flush=True)

    def share(way: str, of: str) -> float:
        return median(a / b for a, b in zip(rates[way], rates[of], strict=True))

    return [
        {
            "encoder": name,
            "codec": codec,
            "height": height,
            "width": width,
            "channels": channels,
            "images": arguments.images,
            "bytes": size,
            "way": way,
            "images_per_s": median(rates[way]),
            "share_of_encoder": share(way, "encoder alone"),
            "share_of_two_workers": share(way, "job, 2 workers"),
            "whole_s": median(whole[way]),
            "rounds": arguments.rounds,
        }
        for way in ways
    ]


def main() -> None:
    """Measure, keep the rows, print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoder", default="chadavit-untrained")
    parser.add_argument("--ray", help="a Python that has zoo and Ray")
    parser.add_argument("--cases", type=int, nargs="+", default=range(len(CASES)))
    parser.add_argument("--out", type=Path, default=kept_rows.RESULTS / "job-speed.csv")
    arguments = parser.parse_args()
    os.environ.setdefault("ZOO_PLUGINS", "")
    here = machine("cpu") | {"commit": kept_rows.current_commit()}
    rows = [row | here for i in arguments.cases for row in measure(CASES[i], arguments)]
    kept_rows.write(arguments.out, FIELDS, rows)
    print(arguments.out.read_text())


if __name__ == "__main__":
    main()
