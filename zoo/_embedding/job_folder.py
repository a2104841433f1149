"""The folder of a job: its record, its parts, what was left out."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from zoo.registry import DataError, MissingExtraError

from .claims import Claims
from .embeddings import FEATURES
from .records import differences
from .run_id import run_of
from .write_aside import write

RECORD, STATES, PARTS, FAILURES, CLAIMS = "job.json", "files.parquet", "parts", "failures", "claims"
# Claimed by who plans the job: above the number of any shard.
PLANNING = 2**40


class JobFolder:
    """Files of one job; each is written aside and moved into place.

    Parameters
    ----------
    path
        The folder, which holds `RECORD`.

    Raises
    ------
    DataError
        If it holds no job.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            record = json.loads((path / RECORD).read_text(encoding="utf-8"))
            self.key: dict[str, Any] = record["key"]
            self.run = str(record["run"])
            self.items = int(self.key["items"])
            self.shard_size = int(self.key["shard_size"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path / RECORD} is not the record of a job: {error}") from error

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.items // self.shard_size)

    def rows(self, shard: int) -> range:
        """Return the places of a shard's items."""
        start = shard * self.shard_size
        return range(start, min(start + self.shard_size, self.items))

    def part(self, shard: int) -> Path:
        """Return the part of a shard; it is there only if the shard is done."""
        return self.path / PARTS / f"{shard:05d}.parquet"

    def done(self) -> set[int]:
        """Return the shards that are done."""
        with suppress(FileNotFoundError):
            names = {entry.name for entry in os.scandir(self.path / PARTS)}
            return {k for k in range(self.shards) if self.part(k).name in names}
        return set()

    @property
    def state(self) -> str:
        """How far the job is, and how to go on, as the end of a sentence."""
        return (
            f"{len(self.done())} of {self.shards} shards of {self.shard_size} images are done and "
            f"stay in {self.path}: start the same command again to go on"
        )

    def missing(self, shards: Sequence[int]) -> list[int]:
        """Return those of some shards that are not done, in their order."""
        done = self.done()
        return [k for k in shards if k not in done]

    def widths(self) -> Iterator[int]:
        """Tell the dimensions of the embeddings of each shard that is done and has any."""
        import pyarrow.parquet as pq

        for shard in sorted(self.done()):
            with suppress(OSError, ValueError, KeyError, TypeError):
                part = pq.ParquetFile(self.part(shard))
                if part.metadata.num_rows:
                    yield len(json.loads(part.schema_arrow.metadata[FEATURES]))

    def failures(self, shards: Sequence[int] | None = None) -> list[tuple[str, str]]:
        """Return the items that were left out, with the reasons."""
        found: list[tuple[str, str]] = []
        for shard in range(self.shards) if shards is None else shards:
            with suppress(FileNotFoundError):
                text = self._failures(shard).open(encoding="utf-8", newline="")
                with text as file:
                    found += [(row["item"], row["reason"]) for row in csv.DictReader(file)]
        return found

    def write_failures(self, shard: int, failures: Sequence[tuple[str, str]]) -> None:
        """Write the items of a shard that were left out; nothing if there are none."""
        if not failures:
            self._failures(shard).unlink(missing_ok=True)
            return

        def save(path: Path) -> None:
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("item", "reason"), *failures])

        write(self._failures(shard), save)

    def file_states(self) -> list[str]:
        """Return the state of the files of each item when the job was planned."""
        return self._states

    @cached_property
    def _states(self) -> list[str]:
        import pyarrow.parquet as pq

        path = self.path / STATES
        try:
            found: list[str] = pq.read_table(path).column("state").to_pylist()
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} cannot be read ({error}): start in a new folder") from error
        return found

    def remove_partials(self, shard: int) -> None:
        """Remove what killed processes left of a shard; only for who has claimed it."""
        for target in (self.part(shard), self._failures(shard)):
            for partial in target.parent.glob(f".{target.name}.*.partial"):
                partial.unlink(missing_ok=True)

    def _failures(self, shard: int) -> Path:
        return self.path / FAILURES / f"{shard:05d}.csv"


def open_job(path: Path, key: Mapping[str, Any], states: Callable[[], list[str]]) -> JobFolder:
    """Open the folder of a job to go on, or make it.

    Parameters
    ----------
    path
        The folder.
    key
        What the job depends on: a folder with another key is refused.
    states
        Returns the state of each item's files; called only for a new job.

    Raises
    ------
    DataError
        If the folder holds another job, or something else, or cannot be written.
    MissingExtraError
        Without pyarrow.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f'{path} will hold Parquet, which needs pyarrow: pip install "microscopy-zoo[parquet]"'
        ) from error
    key = json.loads(json.dumps(key))
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not (path / RECORD).exists():
            _make(path, key, states)
    except OSError as error:
        raise DataError(f"{path} cannot be made ({error.strerror}): give another folder") from error
    folder = JobFolder(path)
    changed = differences(folder.key, key)
    if changed:
        raise DataError(
            f"{path} holds a job with other settings: {'; '.join(changed[:6])}. Give a new "
            "folder, or the same settings to go on"
        )
    return folder


def _make(path: Path, key: Mapping[str, Any], states: Callable[[], list[str]]) -> None:
    """Write the record of a new job, unless another process does it at this moment."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    left = [p for p in path.iterdir() if p.name != CLAIMS]
    strange = [p.name for p in left if not p.name.startswith((".", STATES))]
    if strange and RECORD not in strange:
        raise DataError(f"{path} holds files, but no job ({strange[0]}): give a new folder")
    claims = Claims(path / CLAIMS)
    try:
        claims.take(PLANNING, wait=True)
        if (path / RECORD).exists():
            return
        if claims.work:  # of killed processes
            for partial in path.glob(".*.partial"):
                partial.unlink(missing_ok=True)
        table = pa.table({"state": states()})
        write(path / STATES, lambda partial: pq.write_table(table, partial))
        text = json.dumps({"run": run_of(key), "key": key}, indent=1) + "\n"
        write(path / RECORD, lambda partial: partial.write_text(text, encoding="utf-8"))
    finally:
        claims.close()
