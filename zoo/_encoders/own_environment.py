"""An encoder that runs in an environment of its own, behind the usual contract."""

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from zoo.registry import EncoderSpec, Environment, PluginError

from .._environments.making import made_for
from .._environments.process import WorkerProcess
from .._images.batch import ImageBatch
from .contract import Encoder
from .features import Features


class EnvironmentEncoder(Encoder):
    """Sends prepared planes to a worker and gets embeddings back.

    The worker is started when it is needed, again after it has ended, in a copy of this object, and
    after a fork.
    """

    def __init__(
        self, spec: EncoderSpec, *, weights: Path | None, files: Sequence[Path] = (), seed: int
    ) -> None:
        super().__init__(spec)
        made_for(spec.name, self._environment)  # raises, and names what to run
        self._weights, self._files, self._seed = weights, tuple(files), seed
        self._worker: WorkerProcess | None = None
        self._about: dict[str, Any] = {}
        self._turn = threading.Lock()

    @property
    def _environment(self) -> Environment:
        assert self.spec.environment is not None  # `build` sees to it
        return self.spec.environment

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_worker", "_turn")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _worker=None, _turn=threading.Lock())

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "EnvironmentEncoder":
        """Move to a device, where the worker is started again; the dtype stays float32."""
        wanted = self.device if device is None else torch.device(device)
        if wanted.type != "cpu" and not self._environment.gpu:
            raise ValueError(f"{self.name} runs in an environment of its own, on the CPU only")
        with self._turn:
            if wanted != self.device and self._worker is not None:
                self._worker.close()
            super().to(device, dtype)
            self._started()
        return self

    def check_dtype(self, dtype: torch.dtype) -> None:
        """Raise `ValueError` for all but float32."""
        if dtype != torch.float32:
            raise ValueError(
                f"{self.name} runs in an environment of its own, which gets and returns float32: "
                "leave out dtype="
            )

    def forward(
        self,
        batch: ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> Features:
        """Embed prepared images in the worker."""
        shape = tuple(batch.planes.shape)
        index = batch.channel_index
        request = {
            "do": "embed",
            "shape": shape,
            "counts": batch.counts.tolist(),
            "stains": list(batch.stains or (None,) * len(batch)),
            "channel_index": None if index is None else index.tolist(),
        }
        with self._turn:
            worker = self._started()
            torch.from_numpy(worker.put(shape)).copy_(batch.planes)
            answer = worker.ask(request)
            rows = torch.from_numpy(worker.take(tuple(answer["shape"]), answer["start"]))
        size = self.spec.embedding_size
        if size is not None and rows.shape[1] != size:
            raise PluginError(
                f"{self.name} returned {rows.shape[1]} columns, but its record says {size}"
            )
        return Features(rows.to(self.device), batch.counts)

    def provenance(self) -> dict[str, Any]:
        """What every encoder tells, and the packages of its environment."""
        with self._turn:
            self._started()
        return {
            **super().provenance(),
            "environment": {"python": self._about["python"], **self._about["packages"]},
            "environment_requirements": list(self._environment.lines),
            "environment_sha256": self._about["sha256"],
        }

    def _started(self) -> WorkerProcess:
        """Return the worker, started and with the encoder built."""
        if self._worker is None or not self._worker.alive:
            made = made_for(self.name, self._environment)
            self._worker = WorkerProcess(
                made.interpreter,
                self.name,
                whose=self.origin.get("plugin", ""),
                threads=torch.get_num_threads(),
                limit=self._environment.limit,
            )
            self._about = self._worker.ask(
                {
                    "do": "build",
                    "target": self.spec.builder,
                    "plugin": _where(self.spec.builder.partition(".")[0].partition(":")[0]),
                    "options": dict(self.spec.options),
                    "weights": None if self._weights is None else str(self._weights.absolute()),
                    "files": [str(file.absolute()) for file in self._files],
                    "seed": self._seed,
                    "device": str(self.device),
                }
            )
        return self._worker


def _where(package: str) -> tuple[str, str | None, list[str] | None] | None:
    """Return the file and folders of the plugin's own package, without importing it."""
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None  # its requirements may bring it
    folders = found.submodule_search_locations
    file = found.origin if found.has_location else None
    return package, file, None if folders is None else [str(Path(f).absolute()) for f in folders]
