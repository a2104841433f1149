"""The command that writes a new plugin package: new-plugin."""

import re
from pathlib import Path

import click

from zoo.registry import registry

from .group import main
from .plugin_files import files_of_dataset, files_of_encoder

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@main.command(name="new-plugin")
@click.argument("name")
@click.option("--dataset", is_flag=True, help="A dataset instead of an encoder.")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder to write into; by default the working folder.",
)
def new_plugin(name: str, dataset: bool, out: Path) -> None:
    """Write a small, complete package with an encoder called NAME.

    It has a record, a builder, a test and an entry point. It builds, passes its own tests and is
    listed without an edit.
    """
    if not _NAME.fullmatch(name):
        raise click.ClickException(
            f"{name!r} cannot name a package: use small letters, digits and single hyphens, and "
            "begin with a letter"
        )
    found = registry()
    if name in (found.datasets if dataset else found.encoders):
        kind = "a dataset" if dataset else "an encoder"
        raise click.ClickException(f"{kind} called {name!r} is known already: choose another name")
    folder = out / name
    if folder.exists():
        raise click.ClickException(f"{folder} is there already: choose another name or folder")
    files = files_of_dataset(name) if dataset else files_of_encoder(name)
    for place, text in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    click.echo(f"{folder} is written: {', '.join(files)}.")
    click.echo(f"Next: pip install -e {folder}[test], pytest {folder}, zoo list {name}")
