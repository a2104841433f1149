"""What 'zoo embed' does where the output is a folder: a job that goes on where it was left."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .terminal import progress, taken

if TYPE_CHECKING:
    from .._data.choices import Choices
    from .._data.dataset import Dataset
    from .._embedding.job import Engine
    from .._encoders.contract import Encoder

SHARD_SIZE = 256
TABLES = (".parquet", ".csv", ".h5ad", ".zarr")
_SHOWN = 10


def parse_share(_context: Any, _option: Any, text: str | None) -> tuple[int, int] | None:
    """Return rank and number of ``RANK/WORLD``."""
    if text is None:
        return None
    rank, _, world = text.partition("/")
    if not (rank.strip().isdecimal() and world.strip().isdecimal() and int(rank) < int(world)):
        raise click.BadParameter(
            f"{text!r} is not RANK/WORLD, such as 0/4: ranks count from 0 and lie below the number "
            "of runs"
        )
    return int(rank), int(world)


def reading(choices: "Choices") -> dict[str, Any]:
    """Return the options that decide pixels, as part of what identifies a run.

    Where files are decides none, and may differ between machines; crops are in the items.
    """
    left_out = ("moved", "base", "crops")
    return {k: v for k, v in asdict(choices).items() if k not in left_out}


def is_folder(out: Path) -> bool:
    """Whether an output is the folder of a job, and no table."""
    return out.suffix == "" or (out.is_dir() and out.suffix not in TABLES)


def run(
    dataset: "Dataset",
    encoder: "Encoder",
    out: Path,
    choices: "Choices",
    *,
    shard_size: int,
    share: tuple[int, int],
    engine: "Engine",
    workers: int | None,
) -> None:
    """Embed in shards and print a summary; the exit status is 1 if items were left out."""
    from .._embedding.job import run_job

    with progress(f"embedding {dataset.name}") as tell:
        made = run_job(
            dataset,
            encoder,
            out,
            shard_size=shard_size,
            share=share,
            engine=engine,
            workers=workers,
            reading=reading(choices),
            progress=tell,
        )
    folder = made.folder
    rate = f", {made.computed / made.seconds:.3g} images/s" if made.computed else ""
    done = folder.shards - made.missing
    click.echo(
        f"{out}: {made.computed} images in {taken(made.seconds)}{rate}, by {encoder.name}; "
        f"{done} of {folder.shards} shards are done (run {folder.run})"
    )
    if made.missing:
        click.echo(f"{made.missing} shards are missing: they belong to other --shard RANK/WORLD")
    for item, reason in made.left_out[:_SHOWN]:
        click.secho(f"left out {item}: {reason}", fg="red", err=True)
    if made.left_out:
        click.secho(
            f"{len(made.left_out)} items are left out; {out / 'failures'} has all reasons. To try "
            "a shard again, delete its part and start the same command",
            fg="red",
            err=True,
        )
        raise SystemExit(1)
