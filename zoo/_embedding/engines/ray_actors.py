"""Ray computes the shards of a job: actors with one encoder each, on one machine or many."""

import logging
import os
import pickle
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.registry import MissingExtraError

from ..._data.dataset import Dataset
from ..._encoders.contract import Encoder
from ..computing import Pace, compute_shards
from ..job_folder import JobFolder
from ..write_aside import write
from .faults import describe, raise_again
from .payload import pack, prepare

_FILE = ".workers."


def compute_by_ray(
    dataset: Dataset,
    encoder: Encoder,
    folder: JobFolder,
    shards: Sequence[int],
    *,
    workers: int | None,
    pace: Pace,
) -> None:
    """Compute shards by a pool of actors; Ray Data sends them numbers of shards, never images.

    The cluster is the one that Ray finds (``RAY_ADDRESS``, or one that runs on this machine), or
    else one of the cores that this process may use. Images and the folder of the job must be there
    on each of its machines. By default there is an actor for each GPU if the encoder is on one, and
    else for each machine; they share the cores. Ray starts an actor that was killed again.

    Raises
    ------
    MissingExtraError
        Without Ray.
    DataError
        What a worker raised.
    MemoryError
        If memory runs out in a worker.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(
            f"--engine ray needs Ray ({error}): pip install 'microscopy-zoo[ray]'"
        ) from error
    done = folder.done()
    todo = [k for k in shards if k not in done]
    if not todo:
        return
    on_gpu = encoder.device.type == "cuda"
    # A file, for what lies in the memory of a machine is gone with it, and so were new actors.
    file = folder.path / f"{_FILE}{socket.gethostname()}.{os.getpid()}"
    _remove_leftovers(folder.path)
    began = _connect(ray)
    try:
        content = pickle.dumps(pack(dataset, encoder))
        write(file, lambda path: path.write_bytes(content))
        there = ray.cluster_resources()
        machines = sum(1 for node in ray.nodes() if node["Alive"])
        count = workers or max(1, int(there.get("GPU", 0)) if on_gpu else machines)
        count = min(count, len(todo))
        threads = max(1, int(there.get("CPU", 1)) // count)
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = ray.data.from_items(
            [{"shard": k} for k in todo], override_num_blocks=len(todo)
        ).map_batches(
            Actor,
            fn_constructor_args=(str(file.absolute()), threads, on_gpu),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=threads,
            num_gpus=min(1.0, there.get("GPU", 0) / count) if on_gpu else 0,
        )
        for row in rows.iter_rows():
            if row["kind"]:
                raise_again(row["error"], row["kind"])
            pace.made(int(row["shard"]))
    finally:
        if began:
            ray.shutdown()
        file.unlink(missing_ok=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove the files of killed processes of this machine."""
    for file in folder.glob(f"{_FILE}{socket.gethostname()}.*"):
        try:
            os.kill(int(file.suffix[1:]), 0)
        except (OSError, ValueError):
            file.unlink(missing_ok=True)


def _connect(ray: Any) -> bool:
    """Use a cluster that is there, or begin one; returns whether this process began anything."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would call home
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        ray.init(address="auto", **quiet)
    except ConnectionError:
        # Not the cores of the machine: a scheduler may have given this process fewer.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
    return True


class Actor:
    """An encoder in a process of Ray's."""

    def __init__(self, file: str, threads: int, on_gpu: bool) -> None:
        self._dataset, self._encoder = pickle.loads(Path(file).read_bytes()).unpack()
        prepare(self._encoder, threads, "cuda" if on_gpu else "cpu")
        self._folder = JobFolder(Path(file).parent)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Compute the shards of a batch; what goes wrong is a row, for an error ends all of Ray."""
        shard = int(batch["shard"][0])
        fault = {"error": "", "kind": ""}
        try:
            compute_shards(
                self._dataset,
                self._encoder,
                self._folder,
                [shard],
                found=_nothing,
                made=_nothing,
                progress=_nothing,
            )
        except Exception as problem:
            fault = describe(problem)
        return {"shard": [shard], **{name: [text] for name, text in fault.items()}}


def _nothing(*_: object) -> None:
    """Take a report and drop it: Ray carries results only."""
