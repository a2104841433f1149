"""Embed a dataset in shards, so that what was done is kept whatever happens."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo.registry import DataError, StoppedError

from .._data.dataset import Dataset
from .._encoders.contract import Encoder
from .._encoders.progress import Progress, silent
from .computing import Pace, compute_shards
from .engines.local import compute_locally
from .engines.ray_actors import compute_by_ray
from .interruptible import interruptible
from .job_folder import JobFolder, open_job
from .manifest import file_states
from .run_id import key_of
from .shards import same_width

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
        with interruptible():
            _compute(dataset, encoder, folder, mine, engine, workers, pace)
    except KeyboardInterrupt:
        raise StoppedError(f"stopped: {folder.state}") from None
    except MemoryError as error:
        raise DataError(f"memory ran out: {folder.state}") from error
    return JobSummary(
        folder,
        pace.computed,
        time.monotonic() - pace.started,
        tuple(folder.failures(mine)),
        folder.shards - len(folder.done()),
    )


def _compute(
    dataset: Dataset,
    encoder: Encoder,
    folder: JobFolder,
    mine: Sequence[int],
    engine: Engine,
    workers: int | None,
    pace: Pace,
) -> None:
    """Have what is missing computed in this process, or where the engine says."""
    todo = folder.missing(mine)
    if not todo:
        return
    if engine == "ray":
        compute_by_ray(dataset, encoder, folder, todo, workers=workers, pace=pace)
    elif workers is not None and workers > 1:
        compute_locally(dataset, encoder, folder, todo, workers=workers, pace=pace)
    else:
        compute_shards(
            dataset,
            encoder,
            folder,
            todo,
            found=pace.found,
            made=pace.made,
            progress=lambda _what, done, _total: pace.begun(done),
        )
    # Workers that began side by side have not seen each other's.
    width: int | None = None
    for found in folder.widths():
        width = same_width(found, width, encoder)
