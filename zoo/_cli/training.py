"""Commands that train encoders and predict with them: train and predict."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .group import main
from .options import open_given, source_options
from .terminal import progress, taken

if TYPE_CHECKING:
    from .._data.choices import Choices
    from .._train import Training


def _setting(text: str) -> tuple[str, Any]:
    """``name=value``, the value as TOML has it; text needs no quotes."""
    import tomllib

    name, equal, value = text.partition("=")
    if not equal:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as 'steps=1000'")
    try:
        return name.strip(), tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


@main.command()
@click.argument("source")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--preset", default="tiny", show_default=True, help="tiny, small or paper-size.")
@click.option(
    "--settings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file of settings that differ from the preset.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _option, given: dict(map(_setting, given)),
    help="One setting, such as steps=1000; may be repeated. All are listed by --show-settings.",
)
@click.option("--show-settings", is_flag=True, help="Print all settings as TOML, and do no more.")
@click.option("--from", "start", help="Encoder to go on from, such as chadavit:FOLDER.")
@click.option("--label", help="Column to be learnt; without it the network learns by itself.")
@click.option("--probe", help="Column of a label: scores on held-out groups are logged.")
@click.option("--group", help="Column of the independent unit: plate, well, patient.")
@click.option("--licence", default="not stated", help="Licence of the trained network.")
@click.option("--device", help="cpu, cuda; by default a GPU where there is one.")
@click.option("--keep-going", is_flag=True, help="Go on when the run has collapsed.")
@source_options
def train(
    source: str,
    out: Path | None,
    show_settings: bool,
    changes: dict[str, Any],
    choices: "Choices",
    **asked: Any,
) -> None:
    """Train an encoder on SOURCE: a dataset, a table of files, a folder, or a plate's export.

    Without --label the network learns by self-distillation (DINO), with it to predict a column.
    Images may have any numbers of channels. Started again, the same command goes on where the run
    was left. The folder is an encoder:

    zoo evaluate chadavit:FOLDER -d TABLE --label LABEL --group GROUP
    """
    from .._train import train as run

    if show_settings:
        click.echo(_as_toml(asked["preset"], asked["settings"], changes))
        return
    if out is None:
        raise click.UsageError("name the folder of the run with --out")
    began = time.monotonic()
    with progress("reading images") as tell:
        found = run(open_given(source, choices), out, progress=tell, **asked, **changes)
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks for all
        return
    for item, reason in found.failures:
        click.secho(f"left out {item}: {reason}", fg="red", err=True)
    click.echo(_summary(found, time.monotonic() - began))


def _summary(found: "Training", seconds: float) -> str:
    last = found.log[-1]
    lines = [
        f"{found.folder}: {found.settings.steps} steps in {taken(seconds)}, loss "
        f"{found.log[0]['loss']:.2f} → {last['loss']:.2f}; the network waited for images "
        f"{100 * found.waited:.0f} % of the time."
    ]
    how = f"their stains: {', '.join(found.channels)}" if found.channels else "their position"
    lines.append(f"Channels are told by {how}.")
    if "probe" in last:
        lines.append(
            f"On held-out groups: 5-NN {last['knn']:.2f}, linear probe {last['probe']:.2f}."
        )
    lines.append(f"Load it as {found.encoder}; its untrained twin is {found.twin}.")
    return "\n".join(lines)


def _as_toml(preset: str, file: Path | None, changes: dict[str, Any]) -> str:
    from .._training.settings import read_settings

    lines = []
    for name, value in read_settings(preset, file, changes).to_dict().items():
        if value is None:
            lines.append(f'{name} = "none"')
        elif isinstance(value, bool):
            lines.append(f"{name} = {str(value).lower()}")
        elif isinstance(value, str):
            lines.append(f'{name} = "{value}"')
        else:
            lines.append(f"{name} = {list(value) if isinstance(value, tuple) else value}")
    return "\n".join(lines)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="A CSV file.")
@click.option("--device", help="cpu, cuda; by default a GPU where there is one.")
@source_options
def predict(folder: Path, source: str, out: Path, device: str | None, choices: "Choices") -> None:
    """Predict for SOURCE the column that FOLDER was trained on with --label."""
    from .._predict import predict as run

    with progress("predicting") as tell:
        table = run(folder, open_given(source, choices), device=device, progress=tell)
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out, index=False)
    column = next(c for c in table.columns if c.startswith("predicted_"))
    click.echo(f"{out}: {len(table)} images, {column}")
