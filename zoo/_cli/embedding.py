"""Commands that run one encoder: embed and attention."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import jobs
from .group import main
from .options import TRAINED, cache_option, loading_options, source_options
from .terminal import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._data.choices import Choices
    from .._data.dataset import Dataset
    from .._embedding.job import Engine
    from .._encoders.contract import Encoder

TOKENS = ".zarr"


@main.command()
@click.argument("source")
@click.option("--encoder", "-e", required=True, help="Name of the encoder.")
@click.option(
    "--out",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="Parquet, CSV or AnnData (.h5ad); or a folder, for a job that goes on where it was left; "
    "or .zarr, for the tokens of all patches.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(min=1),
    metavar="IMAGES",
    help="Images in each part of a job; 256 by default.",
)
@click.option(
    "--shard",
    "share",
    metavar="RANK/WORLD",
    callback=jobs.parse_share,
    help="Of a job, only each WORLD-th shard from RANK on: 0/4 to 3/4 on four machines.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of a job, N processes that share this machine's cores or GPUs; with Ray, N actors.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    help="Of a job, what starts its workers: this command, or Ray, on all machines of a cluster.",
)
@source_options
@loading_options
@cache_option
def embed(
    source: str,
    encoder: str,
    out: Path,
    shard_size: int | None,
    share: tuple[int, int] | None,
    workers: int | None,
    engine: "Engine | None",
    choices: "Choices",
    load: "Callable[[str], Encoder]",
    no_cache: bool,
) -> None:
    """Embed the images of SOURCE: a plate's export, a table of files, a folder, or an image.

    A table has a column image (or image_STAIN for one file a channel), or is a LoadData table of
    CellProfiler; other columns are metadata. 'zoo sources SOURCE' shows first what it is taken for.
    Images that cannot be used are reported and left out, and the exit status is 1.

    With a folder as --out (a path without suffix) embeddings are written in parts. The same command
    computes only the parts that are missing, after whatever stopped it; several may run at once.
    Jobs use no cache.
    """
    from .._data.sources import open_source
    from .._embedding.embed import embed as run
    from .._embedding.embeddings import check_output
    from .._embedding.run_id import key_of, run_of, with_run

    if jobs.is_folder(out):
        dataset = open_source(source, choices).dataset
        jobs.run(
            dataset,
            load(encoder),
            out,
            choices,
            shard_size=shard_size or jobs.SHARD_SIZE,
            share=share or (0, 1),
            engine=engine or "local",
            workers=workers,
        )
        return
    of_jobs = {"shard": share, "shard-size": shard_size, "workers": workers, "engine": engine}
    for option, given in of_jobs.items():
        if given is not None:
            raise click.UsageError(f"--{option} needs a folder as --out, not {out}")
    tokens = out.suffix == TOKENS
    if not tokens:
        check_output(out)
    dataset = open_source(source, choices).dataset
    loaded = load(encoder)
    if tokens:
        _embed_tokens(dataset, loaded, out, choices)
        return
    with progress(f"embedding {dataset.name}") as tell:
        embeddings = run(dataset, loaded, on_error="skip", cache=not no_cache, progress=tell)
    run_id = run_of(key_of(dataset, loaded, jobs.reading(choices)))
    with_run(embeddings, run_id).write(out)
    rows, columns = embeddings.matrix.shape
    items = "images" if dataset.crops is None else "crops"
    click.echo(f"{out}: {rows} {items}, {columns} features, by {encoder}")
    for item, reason in embeddings.failures:
        click.secho(f"left out {item}: {reason}", fg="red", err=True)
    if embeddings.failures:
        raise SystemExit(1)


def _embed_tokens(dataset: "Dataset", encoder: "Encoder", out: Path, choices: "Choices") -> None:
    from .._embedding.run_id import key_of, run_of
    from .._embedding.tokens import check_tokens, write_tokens

    check_tokens(encoder, out)
    run = run_of(key_of(dataset, encoder, jobs.reading(choices)))
    with progress(f"embedding {dataset.name}") as tell:
        failures = write_tokens(dataset, encoder, out, said={"run": run}, progress=tell)
    click.echo(f"{out}: the tokens of {len(dataset) - len(failures)} images, by {encoder.name}")
    for item, reason in failures:
        click.secho(f"left out {item}: {reason}", fg="red", err=True)
    if failures:
        raise SystemExit(1)


@main.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--encoder", "-e", default=TRAINED, show_default=True, help="Name of the encoder.")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("attention.png"),
    show_default=True,
    help="A figure (.png, .svg, .pdf), or all numbers (.csv).",
)
@click.option("--layer", type=int, help="One layer, from 1, or from the end: -1. By default all.")
@click.option("--head", type=int, help="One head, from 1. By default all.")
@loading_options
def attention(
    image: Path,
    encoder: str,
    out: Path,
    layer: int | None,
    head: int | None,
    load: "Callable[[str], Encoder]",
) -> None:
    """Draw how the channels of IMAGE attend to each other.

    Rows of the matrix are the attention from the tokens of a channel; maps below it show the
    attention from CLS. A figure averages layers and heads; a .csv lists each.
    """
    from .._encoders.features import Attention
    from .._images.read import read_image
    from .._report.attention import FIGURES, TABLES, attention_table, draw_attention

    suffix = out.suffix.lower()
    if suffix not in FIGURES + TABLES:
        raise click.ClickException(f"{out} must end in {', '.join(FIGURES + TABLES)}")
    picture = read_image(image)
    loaded = load(encoder)
    found = loaded.attention([picture.pixels], stains=[picture.stains])[0]
    layers, heads = found.channels.shape[:2]
    chosen = {
        "layer": _choose("layer", layer, layers, encoder),
        "head": _choose("head", head, heads, encoder),
    }
    names = picture.stains or [f"channel {i}" for i in range(len(picture.pixels))]
    if suffix in TABLES:
        table = attention_table(found, names)
        for column, place in chosen.items():
            table = table if place is None else table[table[column] == place]
        out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(out, index=False)
    else:
        pick = tuple(slice(None) if p is None else slice(p - 1, p) for p in chosen.values())
        which = ", ".join(
            f"{column} {place}" if place else f"all {count} {column}s"
            for (column, place), count in zip(chosen.items(), (layers, heads), strict=True)
        )
        draw_attention(
            Attention(found.channels[pick], found.cls[pick]),
            loaded.prepare(picture.pixels, str(image)),
            names,
            f"{image.name} in {encoder}: attention, {which}",
            out,
        )
    click.echo(f"{out} is written: {encoder} has {layers} layers of {heads} heads.")


def _choose(what: str, given: int | None, count: int, encoder: str) -> int | None:
    """Return a checked number from 1, or None if none was given."""
    if given is None:
        return None
    if not (1 <= given <= count or -count <= given <= -1):
        raise click.ClickException(f"{what} is {given}, but {encoder} has the {what}s 1 to {count}")
    return given if given > 0 else count + 1 + given
