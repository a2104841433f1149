"""Embed a dataset in shards, so that what was done is kept whatever happens."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from zoo.registry import DataError, StoppedError

from .._data.dataset import Dataset
from .._encoders.contract import Encoder
from .._encoders.progress import Progress, silent
from .computing import Pace, compute_shards
from .engines.local import compute_locally
from .engines.ray_actors import compute_by_ray
from .job_folder import JobFolder, open_job
from .manifest import file_states
from .run_id import key_of

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class JobSummary:
    """What a run of a job did.

    Parameters
    ----------
    folder
        The folder of the job.
    computed
        Images that this run embedded or left out, not those of earlier runs or other processes.
    seconds
        How long it took.
    left_out
        Items of this run's share of the shards that could not be used, with the reasons.
    missing
        Shards of the whole job that are not done.
    """

    folder: JobFolder
    computed: int
    seconds: float
    left_out: tuple[tuple[str, str], ...]
    missing: int


def run_job(
    dataset: Dataset,
    encoder: Encoder,
    out: Path,
    *,
    shard_size: int,
    share: tuple[int, int] = (0, 1),
    engine: Engine = "local",
    workers: int | None = None,
    reading: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> JobSummary:
    """Embed a dataset to a folder of parts; computes only the shards that are missing there.

    Parameters
    ----------
    dataset
        The items; their order decides the shards.
    encoder
        A loaded encoder.
    out
        The folder.
    shard_size
        Items in a shard, but for the last.
    share
        Rank and number of runs that share the job: this run does the shards rank,
        rank + number, and so on.
    engine
        What starts several workers: processes of this machine, or Ray.
    workers
        How many compute at once. By default one, in this process; for Ray, one for each GPU or
        machine.
    reading
        What decides how images are read, as part of the job's key.
    progress
        Called with what is done and how fast, items done, and their total in this run's share.

    Raises
    ------
    DataError
        If the folder holds another job, or a file cannot be written, or memory runs out.
    MissingExtraError
        Without pyarrow, or without Ray where that is the engine.
    StoppedError
        After SIGTERM or Ctrl-C; the same call goes on.
    """
    if dataset.read is None:
        raise DataError(f"{dataset.name} has no images, only embeddings")
    key = {**key_of(dataset, encoder, reading or {}), "shard_size": shard_size}
    folder = open_job(out, key, lambda: file_states(dataset))
    rank, world = share
    mine = range(rank, folder.shards, world)
    pace = Pace(dataset.name, folder, mine, progress or silent)
    try:
        with _interruptible():
            if engine == "ray":
                compute_by_ray(dataset, encoder, folder, mine, workers=workers, pace=pace)
            elif workers is not None and workers > 1:
                compute_locally(dataset, encoder, folder, mine, workers=workers, pace=pace)
            else:
                compute_shards(
                    dataset,
                    encoder,
                    folder,
                    mine,
                    found=pace.found,
                    made=pace.made,
                    progress=lambda _what, done, _total: pace.begun(done),
                )
    except KeyboardInterrupt:
        raise StoppedError(f"stopped: {folder.state}") from None
    except MemoryError as error:
        raise DataError(f"memory ran out: {folder.state}") from error
    if pace.computed:
        _check_widths(folder)
    return JobSummary(
        folder,
        pace.computed,
        time.monotonic() - pace.started,
        tuple(folder.failures(mine)),
        folder.shards - len(folder.done()),
    )


def _check_widths(folder: JobFolder) -> None:
    """Refuse parts of different dimensions, which workers cannot see that began side by side."""
    first: tuple[int, int] | None = None
    for shard, width in folder.widths(folder.done()):
        first = first or (shard, width)
        if width != first[1]:
            raise DataError(
                f"shard {first[0]} has {first[1]} numbers for an image, and shard {shard} has "
                f"{width}: the images differ in their number of channels; use an encoder that "
                "averages channels, or choose channels (--channels), in a new folder"
            )


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM do what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
