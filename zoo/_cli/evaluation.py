"""Commands that evaluate encoders: evaluate, compare and demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.registry import WeightsError, is_cached, is_reachable, registry

from .group import main
from .options import (
    TRAINED,
    evaluation_options,
    load_encoder,
    load_subject,
    loading_options,
    open_given,
    source_options,
)
from .terminal import console, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._data.choices import Choices
    from .._encoders.contract import Encoder

UNTRAINED = "chadavit-untrained"
out_option = click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for the report and its tables.",
)


@main.command()
@click.argument("encoder")
@evaluation_options
@out_option
@source_options
@loading_options
def evaluate(
    encoder: str,
    dataset: str | None,
    out: Path,
    choices: "Choices",
    load: "Callable[[str], Encoder]",
    asked: dict[str, Any],
) -> None:
    """Score ENCODER and compare it with chance and with controls.

    On images of your own, give a table with a column of file names, and name its columns:

    zoo evaluate ENCODER -d plate.csv --label dose --group plate

    An export of a microscope and crops of single cells are opened by the options of 'zoo embed'.

    ENCODER may also be a table of embeddings made elsewhere, of the same items as the dataset, or
    without a dataset:

    zoo evaluate profiles.parquet --label dose --group plate
    """
    subject = load_subject(encoder, load)
    if dataset is None and not hasattr(subject, "matrix"):
        raise click.UsageError("name a dataset with --dataset, or give a table of embeddings")
    _evaluate(subject, open_given(dataset, choices), out, **asked)


@main.command()
@click.argument("first")
@click.argument("second")
@evaluation_options
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder for comparison.csv.")
@click.option(
    "--second-weights", type=click.Path(path_type=Path), help="Local safetensors file for SECOND."
)
@source_options
@loading_options
def compare(
    first: str,
    second: str,
    dataset: str | None,
    out: Path | None,
    second_weights: Path | None,
    choices: "Choices",
    load: "Callable[..., Encoder]",
    asked: dict[str, Any],
) -> None:
    """Compare two encoders on the same items.

    Differences are paired over groups, and each encoder stands beside its own controls. With --out
    the table is written as comparison.csv.
    """
    from .._compare import compare as run

    if dataset is None:
        raise click.UsageError("name a dataset with --dataset")
    one = load_subject(first, load)
    other = load_subject(second, lambda name: load(name, weights=second_weights))
    opened = open_given(dataset, choices)
    with progress(f"embedding {dataset}") as tell:
        result = run(one, other, opened, progress=tell, **asked)
    screen = console()
    click.echo(result.render(width=max(screen.width, 80), colour=screen.is_terminal))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        result.to_csv(out / "comparison.csv")
        click.echo(f"{out / 'comparison.csv'} is written.")


@main.command()
@out_option
@click.option("--no-train", is_flag=True, help="Evaluate an untrained network instead.")
def demo(out: Path, no_train: bool) -> None:
    """Train a small ChAda-ViT on synthetic plates, and evaluate it beside its untrained twin.

    It learns without labels, in about two minutes. The published network is evaluated too, where
    its weights are available.
    """
    if no_train:
        _evaluate(load_encoder(UNTRAINED), "phantom", out)
    else:
        from .._train import train

        with progress("reading images") as tell:
            run = train("phantom", out / "trained", progress=tell)
        click.echo(
            f"{run.folder}: a network of {run.parameters:,} parameters, trained without labels."
        )
        _evaluate(load_encoder(run.encoder), "phantom", out)
    weights = registry().encoder(TRAINED).weights
    if weights is not None and not is_cached(weights) and not is_reachable():
        click.echo(
            f"{TRAINED} is left out: no weights on this machine, and the hub is not reachable"
        )
        return
    try:
        trained = load_encoder(TRAINED)
    except WeightsError as error:
        click.echo(f"{TRAINED} is left out: {error}")
        return
    _evaluate(trained, "phantom", out / TRAINED)


def _evaluate(encoder: Any, dataset: Any, out: Path, **options: Any) -> None:
    from .._evaluate import evaluate as run

    out.mkdir(parents=True, exist_ok=True)  # before the work, to fail early
    with progress("embedding") as tell:
        result = run(encoder, dataset, progress=tell, **options)
    screen = console()
    click.echo(result.render(width=max(screen.width, 80), colour=screen.is_terminal))
    page, *tables = result.write(out)
    click.echo(f"{page} is written, with {', '.join(t.name for t in tables)}.")
