"""Commands that fetch, convert and publish weights: pull, convert and push."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import click

from zoo.registry import EncoderSpec, WeightsError, fetch, registry

from .._encoders.terms import in_bytes, terms
from .group import main


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Fetch again what is already on this machine.")
@click.option("--record", is_flag=True, help="Print the hash for the encoder's record.")
def pull(names: tuple[str, ...], force: bool, record: bool) -> None:
    """Fetch and verify the weights of encoders ahead of time.

    NAMES are names of encoders, or patterns such as 'kaiko-*', which take all listed encoders that
    fit and have weights. Licence, where access is asked for, and size are said before a file is
    fetched. Of several encoders, those that are not available are told at the end.
    """
    specs = _chosen(names)
    failed: list[str] = []
    size = 0
    for place, spec in enumerate(specs, 1):
        if not spec.all_files:
            click.echo(f"{spec.name} needs no weights")
            continue
        count = f" ({place} of {len(specs)})" if len(specs) > 1 else ""
        click.echo(f"{spec.name}{count}: {terms(spec)}")
        try:
            found = [fetch(file, force=force) for file in spec.all_files]
        except WeightsError as error:
            if len(specs) == 1:
                raise
            click.secho(f"{spec.name}: {error}", fg="red", err=True)
            failed.append(spec.name)
            continue
        for fetched in found:
            bytes_here = fetched.path.stat().st_size
            size += bytes_here
            verified = f"sha256 verified by: {fetched.verified}"
            click.echo(f"{spec.name}: {fetched.path} ({in_bytes(bytes_here)}, {verified})")
            if record:
                click.echo(f'sha256="{fetched.sha256}"')
    if len(specs) > 1:
        click.echo(f"{len(specs) - len(failed)} of {len(specs)} are here, {in_bytes(size)}")
    if failed:
        raise click.ClickException(f"not fetched, as said above: {', '.join(failed)}")


def _chosen(names: Sequence[str]) -> list[EncoderSpec]:
    """Return the records of names and patterns, each once."""
    found: dict[str, EncoderSpec] = {}
    for name in names:
        if not set("*?[") & set(name):
            found[name] = registry().encoder(name)
            continue
        fitting = [
            spec
            for spec in registry().encoders.values()
            if spec.all_files and fnmatchcase(spec.name, name)
        ]
        if not fitting:
            raise click.ClickException(
                f"no listed encoder with weights fits {name!r}: 'zoo list' shows them; members of "
                "a family are named in full"
            )
        found |= {spec.name: spec for spec in fitting}
    return list(found.values())


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--encoder", help="Name of the encoder that is to load it, which is tried.")
def convert(checkpoint: Path, out: Path, encoder: str | None) -> None:
    """Turn a pickled CHECKPOINT into safetensors.

    A .ckpt or .pth file is read once, without running the code in it.

    Tensors under state_dict are taken, and the prefixes backbone. or encoder. dropped. With
    --encoder NAME, such as uni or subcell:FOLDER, they are dropped only if that encoder has the
    names without them, and a file with tensors missing or unexpected is reported and not kept.
    """
    from .._encoders.convert import convert as run

    done = run(checkpoint, out, encoder)
    click.echo(f"{out}: {len(done.names)} tensors{f', as {encoder} has them' if encoder else ''}")
    if done.renamed:
        new, old = next(iter(done.renamed.items()))
        click.echo(f"renamed: {len(done.renamed)}, such as {old} to {new}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("repo", metavar="ORG/NAME")
@click.option("--private", is_flag=True, help="Make a new repository private.")
def push(folder: Path, repo: str, private: bool) -> None:
    """Publish the encoder in FOLDER, such as one made by 'zoo train', as ORG/NAME on the hub."""
    from .._push import push as run

    click.echo(f"{run(folder, repo, private=private)} loads it, on any machine.")
