"""Builders that the tests run in an environment of its own: sound ones, and each fault."""

import os
import signal
import sys
import time

import numpy as np


def sound(options, *, weights, seed, device):
    """Mean and deviation of each image, times a number of the library in the environment."""
    import clashing

    def embed(batch):
        assert batch.planes.dtype == np.float32
        assert sum(batch.counts) == len(batch.planes)
        return np.stack([[clashing.GAIN * x.mean(), x.std()] for x in batch.images()])

    return embed


def told(options, *, weights, seed, device):
    """What the builder and the function are given, as numbers."""
    size = 0 if weights is None else weights.stat().st_size

    def embed(batch):
        places = batch.channel_index
        first = -1 if places is None else places[0]
        names = sum(len("".join(s)) for s in batch.stains if s is not None)
        row = [options["gain"], seed, size, len(device), first, names, os.getpid()]
        return [row] * len(batch)

    return embed


def sizes_of_files(options, *, weights, seed, device, files):
    """The sizes of the model's files."""
    row = [path.stat().st_size for path in (weights, *files)]
    return lambda batch: [row] * len(batch)


def faults_of_pages(options, *, weights, seed, device):
    """Use memory as a network does, and return how many of its pages the system had to bring."""
    import resource

    def embed(batch):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        layers = [b"x" * options["bytes"] for _ in range(options["layers"])]
        del layers
        found = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        return [[found]] * len(batch)

    return embed


FAULTS = {
    "raises": lambda batch: [][1],
    "exits": lambda batch: sys.exit(3),
    "ends": lambda batch: os._exit(7),
    "killed": lambda batch: os.kill(os.getpid(), signal.SIGKILL),
    "aborts": lambda batch: os.abort(),
    "hangs": lambda batch: time.sleep(1000),
    "memory": lambda batch: (_ for _ in ()).throw(MemoryError("no room")),
    "rows": lambda batch: np.zeros((len(batch) + 1, 2)),
    "flat": lambda batch: np.zeros(len(batch)),
    "texts": lambda batch: [["a", "b"]] * len(batch),
    "columns": lambda batch: np.zeros((len(batch), 3)),
}


def faulty(options, *, weights, seed, device):
    """Go wrong once, as the options say, if a file is not there yet; then be sound."""
    from pathlib import Path

    ready = sound(options, weights=weights, seed=seed, device=device)

    def embed(batch):
        done = Path(options["once"])
        if done.exists():
            return ready(batch)
        done.touch()
        sys.stderr.write("the last words\n")
        sys.stderr.flush()
        return FAULTS[options["fault"]](batch)

    return embed


def needy(options, *, weights, seed, device):
    import no_such_module

    return no_such_module


def uses_zoo(options, *, weights, seed, device):
    import zoo

    return zoo.load


def no_function(options, *, weights, seed, device):
    return 5


def raising(options, *, weights, seed, device):
    raise RuntimeError("no licence file")
