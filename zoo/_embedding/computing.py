"""Compute shards of a job in this process: what every engine runs."""

import time
from collections.abc import Callable, Sequence

from .._data.dataset import Dataset
from .._encoders.contract import Encoder
from .._encoders.progress import Progress
from .claims import Claims
from .job_folder import CLAIMS, JobFolder
from .shards import embed_shard


def compute_shards(
    dataset: Dataset,
    encoder: Encoder,
    folder: JobFolder,
    shards: Sequence[int],
    *,
    found: Callable[[int], None],
    made: Callable[[int], None],
    progress: Progress,
) -> None:
    """Compute shards that were missing; first those that no other process computes.

    `found` is told a shard that another process has done in the meantime, `made` one that is
    written here, and `progress` how far the shard is that is being computed.
    """
    states = folder.file_states()
    width = next(folder.widths(), None)
    claims = Claims(folder.path / CLAIMS)
    try:
        # Then wait for others, and compute what they left.
        for wait in (False, True):
            for shard in shards:
                if folder.part(shard).exists():
                    found(shard)
                    continue
                if not claims.take(shard, wait=wait):
                    continue
                try:
                    if folder.part(shard).exists():
                        found(shard)
                        continue
                    if claims.work:
                        folder.remove_partials(shard)
                    width = embed_shard(
                        dataset, encoder, folder, shard, states, width=width, progress=progress
                    )
                    made(shard)
                finally:
                    claims.release(shard)
    finally:
        claims.close()


class Pace:
    """Says how far a run is in its share of the items, and how fast.

    Reports may come from several workers; each has a number.
    """

    def __init__(
        self, name: str, folder: JobFolder, mine: Sequence[int], progress: Progress
    ) -> None:
        done = folder.done()
        self._name, self._folder, self._progress = name, folder, progress
        self._counted = {k for k in mine if k in done}
        self._total = sum(len(folder.rows(k)) for k in mine)
        self._before = sum(len(folder.rows(k)) for k in self._counted)
        self._begun: dict[int, int] = {}
        self.computed = 0
        self.started = time.monotonic()

    def found(self, shard: int) -> None:
        """Count a shard that another run did."""
        if shard not in self._counted:
            self._counted.add(shard)
            self._before += len(self._folder.rows(shard))

    def made(self, shard: int, worker: int = 0) -> None:
        """Count a shard that this run did."""
        size = len(self._folder.rows(shard))
        if shard in self._counted:  # another worker saw it before its maker reported
            self._before -= size
        self._counted.add(shard)
        self._begun[worker] = 0
        self.computed += size
        self._say()

    def begun(self, items: int, worker: int = 0) -> None:
        """Count items of a shard that is not whole yet."""
        self._begun[worker] = items
        self._say()

    def lost(self, worker: int) -> None:
        """Forget the shard that an ended worker had begun: others compute it."""
        self._begun.pop(worker, None)

    def _say(self) -> None:
        now = self.computed + sum(self._begun.values())
        rate = now / max(time.monotonic() - self.started, 1e-9)
        what = f"embedding {self._name}, {rate:.3g} images/s"
        self._progress(what, self._before + now, self._total)
