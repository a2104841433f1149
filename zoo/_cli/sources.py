"""The command that says what a source is taken for."""

from typing import TYPE_CHECKING

import click

from .group import main
from .options import source_options
from .terminal import add_row, console, table

if TYPE_CHECKING:
    import pandas as pd

    from .._data.choices import Choices
    from .._data.source import Source
    from .._images.image import Image

# Tables of pipelines have hundreds of columns.
_MOST_COLUMNS = 8


@main.command()
@click.argument("source")
@click.option(
    "--rows", type=click.IntRange(min=1), default=5, show_default=True, help="Images to show."
)
@source_options
def sources(source: str, rows: int, choices: "Choices") -> None:
    """Say what SOURCE is taken for, and show its first images, before anything is computed.

    One image is read; its stains, size and micrometres are shown. What is left out is counted by
    the reason.
    """
    from zoo.registry import ZooError

    from .._data.plates.names import natural
    from .._data.sources import open_source

    opened = open_source(source, choices)
    items = "images" if opened.dataset.crops is None else "crops"
    click.echo(f"{source}: {opened.kind}, {len(opened.dataset)} {items}")
    try:
        image = opened.dataset[0]
    except ZooError as error:
        reason = str(error)
    else:
        reason = ""
        _show_image(image, sorted(opened.aliases, key=natural))
    for why, files in opened.left_out.items():
        more = f", {files[1]}" if len(files) > 1 else ""
        click.echo(f"left out: {len(files)} {why} ({files[0]}{more}{', …' * (len(files) > 2)})")
    for note in opened.notes:
        click.echo(f"note: {note}")
    _show_table(opened, rows)
    if reason:
        click.secho(f"the first image cannot be read: {reason}", fg="red", err=True)
        raise SystemExit(1)


def _show_image(image: "Image", aliases: list[str]) -> None:
    channels, height, width = image.pixels.shape
    stains = ", ".join(image.stains or aliases) or "without names"
    hint = "" if image.stains or not aliases else f"; name them with --stain {aliases[0]}=DNA"
    click.echo(f"channels: {channels}, {stains}{hint}")
    click.echo(f"size: {height} × {width} pixels, {image.pixels.dtype}")
    if image.pixel_size is None:
        click.echo("pixel size: unknown; give it with --pixel-size")
    else:
        click.echo(f"pixel size: {image.pixel_size:.4g} µm")


def _show_table(opened: "Source", rows: int) -> None:
    metadata: pd.DataFrame = opened.dataset.metadata
    # The image and what tells it from others come first.
    ordered = sorted(metadata.columns, key=lambda c: (c != "image", not c.startswith("Metadata_")))
    shown = ordered[:_MOST_COLUMNS]
    made = table(*shown)
    for _, row in metadata[shown].head(rows).iterrows():
        add_row(made, *("" if value != value else str(value) for value in row))
    console().print(made)
    left = len(metadata) - rows
    columns = len(metadata.columns) - len(shown)
    if left > 0 or columns > 0:
        click.echo(f"and {max(left, 0)} more rows, {columns} more columns")
