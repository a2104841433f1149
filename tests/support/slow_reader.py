"""A reader that takes its time, so that a job can be disturbed in the middle."""

import time
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class SlowReader:
    """Reads as another reader does, after some seconds."""

    read: Any
    seconds: float

    def __call__(self, i):
        time.sleep(self.seconds)
        return self.read(i)


def slow(dataset, seconds=0.1):
    """Return the dataset with slow images."""
    return replace(dataset, read=SlowReader(dataset.read, seconds))
