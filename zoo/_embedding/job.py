"""Embed a dataset in shards, so that what was done is kept whatever happens."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from zoo.registry import DataError, StoppedError

from .._data.dataset import Dataset
from .._encoders.contract import Encoder
from .._encoders.progress import Progress, silent
from .claims import Claims
from .job_folder import CLAIMS, JobFolder, open_job
from .manifest import file_states
from .run_id import key_of
from .shards import embed_shard


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
    reading
        What decides how images are read, as part of the job's key.
    progress
        Called with what is done and how fast, items done, and their total in this run's share.

    Raises
    ------
    DataError
        If the folder holds another job, or a file cannot be written, or memory runs out.
    MissingExtraError
        Without pyarrow.
    StoppedError
        After SIGTERM or Ctrl-C; the same call goes on.
    """
    if dataset.read is None:
        raise DataError(f"{dataset.name} has no images, only embeddings")
    key = {**key_of(dataset, encoder, reading or {}), "shard_size": shard_size}
    folder = open_job(out, key, lambda: file_states(dataset))
    rank, world = share
    mine = range(rank, folder.shards, world)
    pace = _Pace(dataset.name, folder, mine, progress or silent)
    try:
        with _interruptible():
            _compute(dataset, encoder, folder, mine, pace)
    except KeyboardInterrupt:
        raise StoppedError(f"stopped: {_state(folder)}") from None
    except MemoryError as error:
        raise DataError(f"memory ran out: {_state(folder)}") from error
    return JobSummary(
        folder,
        pace.computed,
        time.monotonic() - pace.started,
        tuple(folder.failures(mine)),
        folder.shards - len(folder.done()),
    )


def _compute(
    dataset: Dataset, encoder: Encoder, folder: JobFolder, mine: range, pace: "_Pace"
) -> None:
    """Compute all missing shards; first those that no other process computes."""
    done = folder.done()
    todo = [k for k in mine if k not in done]
    if not todo:
        return
    states = folder.file_states()
    width: int | None = None
    claims = Claims(folder.path / CLAIMS)
    try:
        # Then wait for others, and compute what they left.
        for wait in (False, True):
            for shard in todo:
                if folder.part(shard).exists():
                    pace.found(shard)
                    continue
                if not claims.take(shard, wait=wait):
                    continue
                try:
                    if folder.part(shard).exists():
                        continue
                    if claims.work:
                        folder.remove_partials(shard)
                    width = embed_shard(
                        dataset, encoder, folder, shard, states, width=width, progress=pace.tell
                    )
                    pace.made(shard)
                finally:
                    claims.release(shard)
    finally:
        claims.close()


class _Pace:
    """Says how far a run is in its share of the items, and how fast."""

    def __init__(self, name: str, folder: JobFolder, mine: range, progress: Progress) -> None:
        done = folder.done()
        self._name, self._folder, self._progress = name, folder, progress
        self._counted = {k for k in mine if k in done}
        self._total = sum(len(folder.rows(k)) for k in mine)
        self._before = sum(len(folder.rows(k)) for k in self._counted)
        self.computed = 0
        self.started = time.monotonic()

    def found(self, shard: int) -> None:
        """Count a shard that another process did."""
        if shard not in self._counted:
            self._counted.add(shard)
            self._before += len(self._folder.rows(shard))

    def made(self, shard: int) -> None:
        """Count a shard that this run did."""
        self._counted.add(shard)
        self.computed += len(self._folder.rows(shard))

    def tell(self, _what: str, done: int, _total: int) -> None:
        """Take a report from within a shard."""
        now = self.computed + done
        rate = now / max(time.monotonic() - self.started, 1e-9)
        what = f"embedding {self._name}, {rate:.3g} images/s"
        self._progress(what, self._before + now, self._total)


def _state(folder: JobFolder) -> str:
    done = len(folder.done())
    return (
        f"{done} of {folder.shards} shards of {folder.shard_size} images are done and stay in "
        f"{folder.path}: start the same command again to go on"
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
