"""Commands for what zoo keeps on this machine: cache list, verify and prune."""

from collections.abc import Sequence

import click

from zoo.registry.cache_folder import cache_folder

from .group import main
from .kept import KINDS, Entry, Kind, entries
from .terminal import add_row, console
from .terminal import table as table_of


@main.group()
def cache() -> None:
    """Weights and embeddings on this machine: list, verify, prune."""


_names = click.argument("names", nargs=-1, metavar="[NAME]...")


@cache.command(name="list")
@_names
def list_(names: tuple[str, ...]) -> None:
    """List weights and embeddings that are kept, with their sizes.

    NAME is an encoder or a repository, and may have *.
    """
    from zoo.registry.hub import cache_path

    found = entries(names)
    if found:
        _show(found)
        click.echo(f"{_bytes(found)} in all")
    else:
        click.echo("nothing is kept" + (f" for {', '.join(names)}" if names else ""))
    click.echo(f"weights: {cache_path()} (HF_HUB_CACHE)")
    click.echo(f"embeddings: {cache_folder() / 'embeddings'} (ZOO_CACHE)")


@cache.command()
@_names
def verify(names: tuple[str, ...]) -> None:
    """Hash all weights again, read all embeddings, and name what is damaged."""
    found = [e for e in entries(names) if e.kind != "unfinished"]
    problems = [(e, said) for e in found if (said := e.problem()) is not None]
    for entry, said in problems:
        click.secho(f"{entry.kind} of {entry.names[0]}: {said}", fg="red", err=True)
    click.echo(f"{len(found) - len(problems)} of {len(found)} files are as they were saved")
    if problems:
        raise SystemExit(1)


@cache.command()
@_names
@click.option("--all", "everything", is_flag=True, help="Everything that is kept.")
@click.option("--kind", type=click.Choice(KINDS), help="This kind only.")
@click.option("--yes", is_flag=True, help="Remove it; otherwise it is only shown.")
def prune(names: tuple[str, ...], everything: bool, kind: Kind | None, yes: bool) -> None:
    """Show weights and embeddings that would be removed, and with --yes remove them.

    NAME is an encoder or a repository, and may have *. What other programs have put into the hub's
    cache stays.
    """
    if not names and not everything and kind is None:
        raise click.ClickException("say what to remove: names of encoders, --kind or --all")
    found = entries(names, kind)
    if not found:
        click.echo("there is nothing to remove")
        return
    _show(found)
    total = _bytes(found)
    if not yes:
        click.echo(f"{total} would be removed: --yes removes them")
        return
    for entry in found:
        _remove(entry)
    click.echo(f"{total} are removed")


def _remove(entry: Entry) -> None:
    for path in reversed(entry.files()):  # content first, so that nothing is taken for whole
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise click.ClickException(
                f"{path} cannot be removed ({error.strerror}): a cache that is read-only or "
                "another user's is pruned by its owner"
            ) from error


def _show(found: Sequence[Entry]) -> None:
    table = table_of("kind", "of", "size", "what")
    for entry in found:
        add_row(table, entry.kind, ", ".join(entry.names), _bytes([entry]), entry.what)
    console().print(table)


def _bytes(found: Sequence[Entry]) -> str:
    size = float(sum(e.size for e in found))
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
