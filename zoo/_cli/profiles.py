"""Commands on tables of profiles: aggregate."""

from pathlib import Path

import click

from .group import main


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
