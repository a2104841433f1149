"""Several processes of this machine compute the shards of a job."""

import json
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from zoo.registry import DataError

from ..._data.dataset import Dataset
from ..._encoders.contract import Encoder
from ..computing import Pace
from ..job_folder import JobFolder
from .faults import raise_again
from .payload import dump, on_the_cpu

_LOG = logging.getLogger("zoo")
_PATIENCE = 10.0
"""Seconds for a worker to end when it is asked to."""


def compute_locally(
    dataset: Dataset,
    encoder: Encoder,
    folder: JobFolder,
    shards: Sequence[int],
    *,
    workers: int,
    pace: Pace,
) -> None:
    """Compute missing shards in processes that share the cores, and GPUs if the encoder is on one.

    Each begins with a share of its own and then takes what others have not begun. A worker that is
    killed is reported, and the others compute its shards.

    Raises
    ------
    DataError
        What a worker raised, or that no worker is left.
    MemoryError
        If memory runs out in a worker.
    """
    workers = min(workers, len(shards))
    devices = [str(encoder.device)]
    if encoder.device.type == "cuda" and encoder.device.index is None:
        devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    threads = max(1, torch.get_num_threads() // workers)
    with tempfile.TemporaryDirectory(prefix="zoo-workers-") as place, on_the_cpu(encoder):
        started: list[_Worker] = []
        said: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
        try:
            shared = Path(place, "payload")
            with shared.open("wb") as file:
                dump(dataset, encoder, file)
            for i in range(workers):
                own = [k for j in range(workers) for k in shards[(i + j) % workers :: workers]]
                work = Path(place, f"{i}")
                work.write_bytes(pickle.dumps((own, threads, devices[i % len(devices)])))
                started.append(_Worker(i, [shared, work, folder.path], threads, said))
            _listen(started, said, pace)
        finally:
            for worker in started:
                worker.ask_to_end()
            deadline = time.monotonic() + _PATIENCE
            for worker in started:
                worker.end(deadline)
    _report_lost(started, folder, shards)


def _listen(
    started: Sequence["_Worker"],
    said: "queue.Queue[tuple[int, dict[str, Any] | None]]",
    pace: Pace,
) -> None:
    """Pass on what workers say, until all have ended."""
    left = len(started)
    while left:
        i, message = said.get()
        match message:
            case None:
                left -= 1
                pace.lost(i)
            case {"started": _}:
                started[i].started = True
            case {"made": shard}:
                pace.made(shard, i)
            case {"found": shard}:
                pace.found(shard)
            case {"begun": items}:
                pace.begun(items, i)
            case {"ended": _}:
                started[i].ended = True
            case {"error": error, "kind": kind}:
                raise_again(error, kind)


def _report_lost(started: Sequence["_Worker"], folder: JobFolder, shards: Sequence[int]) -> None:
    """Say which workers were killed; an error if what they left was not computed by others."""
    lost = [worker for worker in started if not worker.ended]
    if not lost:
        return
    if not any(worker.started for worker in started):
        raise DataError("no worker could start; what they wrote is above")
    told = "; ".join(f"worker {w.number + 1} of {len(started)} {w.fate}" for w in lost)
    if folder.missing(shards):
        raise DataError(f"{told}: {folder.state}")
    _LOG.warning("%s; the others computed its shards", told)


class _Worker:
    """A process and a thread that reads what it says."""

    def __init__(
        self,
        number: int,
        files: Sequence[Path],
        threads: int,
        said: "queue.Queue[tuple[int, dict[str, Any] | None]]",
    ) -> None:
        self.number = number
        self.started = self.ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "zoo._embedding.engines.child", *map(str, files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for this process
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self._thread = threading.Thread(target=self._read, args=(said,), daemon=True)
        self._thread.start()

    @property
    def fate(self) -> str:
        """How it came to its end."""
        code = self._process.returncode
        if code >= 0:
            return f"ended with exit status {code}"
        name = signal.Signals(-code).name
        return f"was killed ({name}{', as when memory runs out' if name == 'SIGKILL' else ''})"

    def _read(self, said: "queue.Queue[tuple[int, dict[str, Any] | None]]") -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                with suppress(ValueError):  # the last line of a killed process may be half
                    said.put((self.number, json.loads(line)))
        finally:
            said.put((self.number, None))

    def ask_to_end(self) -> None:
        """Ask it to end, if it has not ended."""
        if self._process.poll() is None and not self.ended:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for its end, and force it then."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(1.0)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
