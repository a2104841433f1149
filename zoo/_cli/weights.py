"""Commands that fetch, convert and publish weights: pull, convert and push."""

from pathlib import Path

import click

from zoo.registry import fetch, registry

from .group import main


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Fetch again what is already on this machine.")
@click.option("--record", is_flag=True, help="Print the hash for the encoder's record.")
def pull(names: tuple[str, ...], force: bool, record: bool) -> None:
    """Fetch and verify the weights of encoders ahead of time."""
    for name in names:
        spec = registry().encoder(name)
        if spec.weights is None:
            click.echo(f"{name} needs no weights")
            continue
        fetched = fetch(spec.weights, force=force)
        click.echo(f"{name}: {fetched.path} (sha256 verified by: {fetched.verified})")
        if record:
            click.echo(f'sha256="{fetched.sha256}"')


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
def convert(checkpoint: Path, out: Path) -> None:
    """Turn a pickled CHECKPOINT into safetensors.

    A .ckpt or .pth file is read once, without running the code in it.

    Tensors under state_dict are taken, and the prefixes backbone. or encoder. dropped.
    """
    from .._encoders.convert import convert as run

    names = run(checkpoint, out)
    click.echo(f"{out}: {len(names)} tensors")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("repo", metavar="ORG/NAME")
@click.option("--private", is_flag=True, help="Make a new repository private.")
def push(folder: Path, repo: str, private: bool) -> None:
    """Publish the encoder in FOLDER, made by 'zoo train', as ORG/NAME on the hub."""
    from .._push import push as run

    click.echo(f"{run(folder, repo, private=private)} loads it, on any machine.")
