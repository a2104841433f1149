"""Ray computes the shards of a job: actors with one encoder each, on one machine or many."""

import io
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

from zoo.registry import DataError, MissingExtraError

from ..._data.dataset import Dataset
from ..._encoders.contract import Encoder
from ..computing import Pace, compute_shards
from ..job_folder import JobFolder
from .faults import describe, raise_again
from .payload import dump, load, on_the_cpu, prepare

RETRIES = 3
"""How often a shard is tried again whose actor was killed."""
RESTARTS = 20
"""How often an actor is started again that was killed."""


def compute_by_ray(
    dataset: Dataset,
    encoder: Encoder,
    folder: JobFolder,
    shards: Sequence[int],
    *,
    workers: int | None,
    pace: Pace,
) -> None:
    """Compute missing shards by a pool of actors, which are sent numbers and never images.

    The cluster is that of ``RAY_ADDRESS``, which may be ``auto`` for one that runs on this machine,
    or else one of the cores that this process may use. Images and the folder of the job must be
    there on each of its machines. By default there is an actor for each GPU if the encoder is on
    one, and else for each machine; they share the cores. Ray starts an actor again that was killed.

    Raises
    ------
    MissingExtraError
        Without Ray.
    DataError
        What a worker raised, or Ray.
    MemoryError
        If memory runs out in a worker.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            f"--engine ray needs Ray ({error}): pip install 'microscopy-zoo[ray]'"
        ) from error
    if encoder.device.type not in ("cpu", "cuda"):
        raise DataError(f"Ray gives no {encoder.device.type} to workers: give --device cpu or cuda")
    on_gpu = encoder.device.type == "cuda"
    content = io.BytesIO()
    began = _connect(ray)
    try:
        count, share = _shares(ray, workers, len(shards), on_gpu=on_gpu)
        with on_the_cpu(encoder):
            dump(dataset, encoder, content)
            payload = ray.put(content.getvalue())
            content.close()
            again = {"max_restarts": RESTARTS, "max_task_retries": RETRIES}
            made = ray.remote(Actor).options(**again, **share)
            given = (payload, str(folder.path.absolute()), share, on_gpu)
            actors = [made.remote(*given) for _ in range(count)]
            try:
                for shard, row in _rows(ray, actors, shards):
                    if row["kind"]:
                        raise_again(row["error"], row["kind"])
                    (pace.made if row["made"] else pace.found)(shard)
            finally:  # before the encoder needs the memory of a GPU again
                for actor in actors:
                    with suppress(ray.exceptions.RayError):  # where Ray itself is gone
                        ray.kill(actor)
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        raise DataError(f"Ray could not go on ({reason}): {folder.state}") from error
    finally:
        if began:
            ray.shutdown()


def _rows(
    ray: Any, actors: Sequence[Any], shards: Sequence[int]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Give each actor one shard at a time, and yield what it says of each, as they are done.

    An actor gets none before it runs, for Ray may have no place for it until the others are done.
    """
    left, missing = deque(shards), len(shards)
    coming: dict[Any, tuple[Any, int | None]] = {a.runs.remote(): (a, None) for a in actors}
    while missing:
        done, _ = ray.wait(list(coming))
        for reference in done:
            actor, shard = coming.pop(reference)
            row = ray.get(reference)
            if left:
                following = left.popleft()
                coming[actor.compute.remote(following)] = (actor, following)
            if shard is not None:
                missing -= 1
                yield shard, row


def _shares(
    ray: Any, workers: int | None, shards: int, *, on_gpu: bool
) -> tuple[int, dict[str, float]]:
    """Return the number of actors, and what each of them gets of cores and GPUs."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [there for there in nodes if there.get("CPU", 0) >= 1]  # a head may lend none
    if on_gpu:
        nodes = [there for there in nodes if there.get("GPU", 0) >= 1]
    if not nodes:
        raise DataError(
            "Ray's cluster has no GPU: give --device cpu" if on_gpu else "Ray's cluster has no core"
        )
    gpus = sum(int(there.get("GPU", 0)) for there in nodes)
    count = min(workers or (gpus if on_gpu else len(nodes)), shards)
    # A share that fits count times where machines are alike; elsewhere some actors may wait.
    threads = max(1, int(min(there["CPU"] for there in nodes)) // ceil(count / len(nodes)))
    return count, {"num_cpus": threads, "num_gpus": 1 / ceil(count / gpus) if on_gpu else 0}


def _connect(ray: Any) -> bool:
    """Use the cluster that is named, or begin one; returns whether this process began anything.

    One that merely runs here may be another command's own: it would end with that command, and has
    no cores to spare until then.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would call home
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 would wait for whatever else runs
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    main = threading.current_thread() is threading.main_thread()
    stop = signal.getsignal(signal.SIGTERM)
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            # Not the cores of the machine: a scheduler may have given this process fewer.
            own = hasattr(os, "sched_getaffinity")
            cores = len(os.sched_getaffinity(0)) if own else os.cpu_count()
            ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
    except ConnectionError as error:
        if not address:
            raise DataError(f"Ray could not be started: {error}") from error
        raise DataError(f"no cluster of Ray answers at RAY_ADDRESS={address}") from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, stop)  # which Ray has taken
    return True


class Actor:
    """An encoder in a process of Ray's."""

    def __init__(self, payload: bytes, folder: str, share: Mapping[str, Any], on_gpu: bool) -> None:
        self._dataset, self._encoder = load(io.BytesIO(payload))
        prepare(self._encoder, int(share["num_cpus"]), "cuda" if on_gpu else "cpu")
        self._folder = JobFolder(Path(folder))

    def runs(self) -> None:
        """Return once there is a process for this."""

    def compute(self, shard: int) -> dict[str, Any]:
        """Compute a shard; what goes wrong is returned as two strings, which any version reads."""
        fault = {"error": "", "kind": ""}
        made: list[int] = []
        try:
            compute_shards(
                self._dataset,
                self._encoder,
                self._folder,
                [shard],
                found=_nothing,
                made=made.append,
                progress=_nothing,
            )
        except Exception as problem:
            fault = describe(problem)
        return {"made": bool(made), **fault}


def _nothing(*_: object) -> None:
    """Take a report and drop it: Ray carries results only."""
