"""Commands on tables of profiles: aggregate and explore."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .group import main
from .options import source_options
from .terminal import progress

if TYPE_CHECKING:
    from .._data.choices import Choices


@main.command()
@click.argument("profiles", type=click.Path(path_type=Path))
@click.option(
    "--by",
    default="Metadata_Plate,Metadata_Well",
    show_default=True,
    metavar="A,B",
    help="Columns that make a group.",
)
@click.option("--method", type=click.Choice(["mean", "median"]), default="mean", show_default=True)
@click.option(
    "--out",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="Parquet, CSV or AnnData (.h5ad).",
)
def aggregate(profiles: Path, by: str, method: str, out: Path) -> None:
    """Make one profile of each well, or other group, of PROFILES: a table or a job's folder.

    Metadata that are the same for all items of a group are kept.
    """
    from .._embedding.aggregate import aggregate as run
    from .._embedding.embeddings import check_output
    from .._embedding.profiles import read_profiles

    check_output(out)
    items = read_profiles(profiles)
    columns = [name.strip() for name in by.split(",") if name.strip()]
    found = run(items, columns, method=method)  # type: ignore[arg-type]
    found.write(out)
    dropped = found.provenance["aggregated"]["dropped"]
    click.echo(
        f"{out}: {len(found)} profiles, the {method} of {len(items)} by {', '.join(columns)}"
    )
    if dropped:
        click.echo(f"left out, as they vary in a group: {', '.join(dropped)}")


@main.command()
@click.argument("profiles", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("explore.html"),
    show_default=True,
    help="The page.",
)
@click.option(
    "--images",
    metavar="SOURCE",
    help="The images, as they were given to 'zoo embed'; by default files are looked for by the "
    "column image, beside the table and where you are.",
)
@click.option("--colour", metavar="COLUMN", help="The column to colour by first.")
@click.option("--no-umap", is_flag=True, help="Principal components alone; UMAP may take minutes.")
@click.option(
    "--pictures",
    type=click.IntRange(min=0),
    default=2000,
    show_default=True,
    help="Most items with a picture, evenly chosen.",
)
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
@source_options
def explore(
    profiles: Path,
    out: Path,
    images: str | None,
    colour: str | None,
    no_umap: bool,
    pictures: int,
    show: bool,
    choices: "Choices",
) -> None:
    """Write a page with the map of PROFILES: a table, an .h5ad file, or a job's folder.

    Points are coloured by any column. A click shows an item and its nearest neighbours with their
    images, a lasso makes a table. The page needs no network. Options of reading are for --images.
    """
    from .._data.sources import open_source
    from .._explore import explore as run

    dataset = None if images is None else open_source(images, choices).dataset
    with progress("reading profiles") as tell:
        notes = run(
            profiles,
            out,
            images=dataset,
            umap=not no_umap,
            pictures=pictures,
            colour=colour,
            progress=tell,
        )
    click.echo(f"{out} is written: open it in a browser")
    for note in notes:
        click.echo(f"note: {note}")
    if show:
        click.launch(out.resolve().as_uri())
