"""The command that prints what to cite: cite."""

import click

from .group import main


@main.command()
@click.argument("names", nargs=-1, required=True)
def cite(names: tuple[str, ...]) -> None:
    """Print BibTeX and terms of encoders and datasets."""
    from .._citations import cite as run

    click.echo(run(names), nl=False)
