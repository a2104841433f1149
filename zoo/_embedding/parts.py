"""The parts of a finished job, read as one table."""

from collections.abc import Callable
from hashlib import sha256 as new_digest
from pathlib import Path

import pandas as pd

from zoo.registry import DataError

from .job_folder import RECORD, JobFolder
from .tables import Blocks, Table, open_parquet, unreadable


def is_job(path: Path) -> bool:
    """Whether a path is the folder of a job."""
    return (path / RECORD).is_file()


def finished_job(path: Path) -> JobFolder:
    """Return the folder of a job all of whose shards are done.

    Raises
    ------
    DataError
        If it is no job, or shards are missing.
    """
    if not is_job(path):
        raise DataError(f"{path} is not a file, and as a folder it has no {RECORD} of a job")
    folder = JobFolder(path)
    missing = folder.shards - len(folder.done())
    if missing:
        raise DataError(
            f"{path} is not complete: {missing} of {folder.shards} shards are missing; start "
            "'zoo embed' with the same arguments again to compute them"
        )
    return folder


def open_parts(path: Path) -> Table:
    """Open the parts of a job as one table.

    Raises
    ------
    DataError
        If shards are missing, parts do not fit together, or none has rows.
    """
    folder = finished_job(path)
    parts = [_open(folder.part(k)) for k in range(folder.shards)]
    parts = [part for part in parts if part.rows]
    if not parts:
        raise DataError(f"{path} has no rows: each of its {folder.items} items was left out")
    first = parts[0]
    for part in parts:
        if part.columns != first.columns:
            raise DataError(
                f"{part.path} has {len(part.columns)} columns and {first.path} has "
                f"{len(first.columns)}, or others: the images differ in their number of channels; "
                "use an encoder that averages channels"
            )

    def metadata(names: list[str]) -> pd.DataFrame:
        return pd.concat([part.metadata(names) for part in parts], ignore_index=True)

    return Table(
        path,
        sum(part.rows for part in parts),
        first.columns,
        set.intersection(*(part.numeric for part in parts)),
        first.provenance,
        metadata,
        _joined([(part.rows, part.blocks) for part in parts]),
    )


def _open(path: Path) -> Table:
    try:
        return open_parquet(path)
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:  # of pyarrow, for broken files
        raise unreadable(path, error) from error


def _joined(
    parts: list[tuple[int, Callable[[list[str]], Blocks]]],
) -> Callable[[list[str]], Blocks]:
    def blocks(names: list[str]) -> Blocks:
        top = 0
        for rows, own in parts:
            for inner, left, numbers in own(names):
                yield top + inner, left, numbers
            top += rows

    return blocks


def parts_sha256(path: Path) -> str:
    """Return the sha256 of all parts of a job, one after the other."""
    folder = JobFolder(path)
    digest = new_digest()
    for shard in range(folder.shards):
        digest.update(folder.part(shard).read_bytes())
    return digest.hexdigest()
