"""Commands for encoders that run in environments of their own: env create, list and remove."""

import shutil
from pathlib import Path

import click

from zoo.registry import EncoderSpec, PluginError, registry

from .group import main
from .terminal import add_row, console
from .terminal import table as table_of


@main.group()
def env() -> None:
    """Environments of encoders whose dependencies clash with ours."""


@env.command()
@click.argument("name")
@click.option("--python", help="Interpreter to make it with, instead of this one.")
@click.option("--force", is_flag=True, help="Make it again if it is there.")
@click.option("--quiet", is_flag=True, help="Leave out what pip says on its way.")
def create(name: str, python: str | None, force: bool, quiet: bool) -> None:
    """Make the environment of encoder NAME with venv and pip."""
    from .._environments.making import create as run
    from .._environments.making import folder_of

    spec = registry().encoder(name)
    if spec.environment is None:
        raise click.ClickException(f"{name} needs no environment of its own")
    if python is not None and shutil.which(python) is None:
        raise click.ClickException(f"there is no interpreter {python}: give its path")
    folder = folder_of(spec.environment)
    click.echo(f"{name} needs {spec.environment}; its environment is {folder}", err=True)
    made, now = run(spec.environment, python=python, force=force, quiet=quiet)
    state = "is made" if now else "is there already (--force makes it again)"
    packages = len(made.packages)
    click.echo(f"{name}: the environment {state}: Python {made.python}, {packages} packages")


@env.command(name="list")
def list_() -> None:
    """List environments: those that are there, and those that encoders still need."""
    from .._environments.making import environments_folder, find, folder_of

    users: dict[Path, list[str]] = {}
    for spec in _specs():
        assert spec.environment is not None
        try:
            users.setdefault(folder_of(spec.environment), []).append(spec.name)
        except PluginError as error:
            click.secho(f"{spec.name}: {error}", fg="red", err=True)
    there = environments_folder().iterdir() if environments_folder().is_dir() else ()
    folders = {f for f in there if f.is_dir()}
    table = table_of("environment", "encoders", "Python", "packages", "size", "state")
    for folder in sorted(folders | set(users)):
        names = ", ".join(users.get(folder, ())) or "none that is installed"
        found = find(folder)
        if found is not None:
            packages = str(len(found.packages))
            add_row(table, folder.name, names, found.python, packages, _size(folder), "whole")
        elif folder in folders:
            state = f"half made: {_way_on(folder, users)}"
            add_row(table, folder.name, names, "", "", _size(folder), state)
        else:
            add_row(table, folder.name, names, "", "", "", f"missing: {_way_on(folder, users)}")
    if not table.row_count:
        click.echo("no encoder needs an environment of its own, and there is none")
        return
    console().print(table)


@env.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the environment of encoder NAME, or the one that 'zoo env list' calls NAME."""
    from .._environments.making import environments_folder, folder_of
    from .._environments.making import remove as run

    # By its own name it can be removed after the plugin that needed it.
    folder = environments_folder() / Path(name).name
    if not folder.is_dir() or name.startswith("."):
        spec = registry().encoder(name)
        if spec.environment is None:
            raise click.ClickException(f"{name} has no environment of its own")
        folder = folder_of(spec.environment)
    if not folder.is_dir():
        raise click.ClickException(f"there is no environment of {name} to remove")
    size = _size(folder)
    run(folder)
    click.echo(f"{folder} is removed ({size})")


def _specs() -> list[EncoderSpec]:
    return [s for s in registry().encoders.values() if s.environment is not None]


def _way_on(folder: Path, users: dict[Path, list[str]]) -> str:
    names = users.get(folder)
    return f"zoo env create {names[0]}" if names else f"zoo env remove {folder.name}"


def _size(folder: Path) -> str:
    files = (f for f in folder.rglob("*") if not f.is_symlink() and f.is_file())
    return f"{sum(f.stat().st_size for f in files) / 1e6:.0f} MB"
