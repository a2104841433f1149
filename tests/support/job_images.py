"""Images for jobs that are disturbed: small, slow to read, of differing channels."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tifffile


def write_images(folder, count):
    """Write stacks of two random planes."""
    rng = np.random.default_rng(0)
    for i in range(count):
        planes = rng.integers(0, 4096, (2, 64, 64), dtype=np.uint16)
        tifffile.imwrite(folder / f"{i:03d}.tif", planes, photometric="minisblack")


def copy_images(paths, folder, three_from):
    """Copy stacks of two planes; those from a number on get a third."""
    folder.mkdir()
    for i, path in enumerate(paths):
        pixels = tifffile.imread(path)
        if i >= three_from:
            pixels = np.concatenate([pixels, pixels[:1]])
        tifffile.imwrite(folder / path.name, pixels, photometric="minisblack")


@dataclass(frozen=True)
class SlowReader:
    """Reads as another reader does, after some seconds."""

    read: Any
    seconds: float

    def __call__(self, i):
        time.sleep(self.seconds)
        return self.read(i)


def slow(dataset, seconds=0.1):
    """Return the dataset with images that take their time, so that a job is hit in the middle."""
    return replace(dataset, read=SlowReader(dataset.read, seconds))
