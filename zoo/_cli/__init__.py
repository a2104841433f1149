"""The command line. Commands import what they need, so that help and listings stay instant."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.registry import (
    EncoderFamily,
    EncoderSpec,
    WeightsError,
    ZooError,
    fetch,
    is_cached,
    is_reachable,
    registry,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TRAINED = "chadavit-idrcell100k"
UNTRAINED = "chadavit-untrained"


class Zoo(click.Group):
    """A group whose errors are one sentence and an exit status, unless --debug asks for more."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            sys.stderr.close()  # the reader went away: nobody is left to be told
            context.exit(1)
        except Exception as error:
            if context.params.get("debug"):
                raise
            known = isinstance(error, ZooError | ValueError | TypeError | OSError)
            what = str(error) if known else f"{type(error).__name__}: {error}"
            if not known:
                what += " (this is a bug of ours; --debug shows where)"
            click.secho(f"error: {what}", fg="red", err=True)
            context.exit(1)


@click.group(cls=Zoo, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, envvar="ZOO_DEBUG", help="Show tracebacks.")
@click.version_option(package_name="microscopy-zoo", prog_name="zoo")
def main(debug: bool) -> None:
    """Microscopy image encoders for any number of channels, judged beside trivial controls."""


@main.command(name="list")
@click.argument("pattern", default="")
def list_(pattern: str) -> None:
    """List encoders, families and datasets whose name or summary holds PATTERN."""
    found = registry()

    def wanted(*texts: str) -> bool:
        return any(pattern.lower() in text.lower() for text in texts)

    encoders = [s for s in found.encoders.values() if wanted(s.name, s.summary)]
    families = [f for f in found.families.values() if wanted(f.scheme + ":", f.summary)]
    datasets = [d for d in found.datasets.values() if wanted(d.name, d.summary)]
    if not encoders and not families and not datasets:
        raise click.ClickException(f"nothing matches {pattern!r}; 'zoo list' shows everything")
    table = _table("encoder", "channels", "size", "weights", "what it is")
    for spec in sorted(encoders, key=lambda s: (s.role == "control", s.name)):
        _row(table, spec.name, _channels(spec), _size(spec), _state(spec), _what(spec))
    for family in families:
        _row(table, f"{family.scheme}:…", "", "", "", family.summary)
    if encoders or families:
        _console().print(table)
    if datasets:
        table = _table("dataset", "channels", "what it is")
        for dataset in datasets:
            low, high = dataset.channels
            _row(table, dataset.name, str(low) if low == high else f"{low}–{high}", dataset.summary)
        _console().print(table)
    if found.broken:
        click.secho(
            f"{len(found.broken)} plugin(s) were set aside: see 'zoo plugins'",
            fg="yellow",
            err=True,
        )


@main.command()
@click.argument("name")
def info(name: str) -> None:
    """Show the record of an encoder, a family or a dataset."""
    found = registry()
    record: Any
    if name in found.datasets:
        record = found.datasets[name]
    elif name.rstrip(":…") in found.families and name not in found.encoders:
        record = found.families[name.rstrip(":…")]
    else:
        record = found.encoder(name)
    table = _table("", "", header=False)
    origin = found.origin(record)
    for field in record.__dataclass_fields__:
        value = getattr(record, field)
        if value in (None, "", (), {}):
            continue
        if field == "tasks":
            value = "\n".join(f"{t.title}: {t.kind} of {t.target}" for t in value)
        elif field == "channels":
            value = _channels(record)
        elif field in ("options",):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, tuple):
            value = "\n".join(map(str, value))
        _row(table, field.replace("_", " "), str(value))
    if isinstance(record, EncoderSpec) and record.weights is not None:
        _row(
            table, "on this machine", "yes" if is_cached(record.weights) else "no: zoo pull " + name
        )
    if origin is not None:
        _row(table, "plugin", str(origin))
    _console().print(table)


@main.command()
def plugins() -> None:
    """Show all plugins: what they offer, what listing them costs, and why some were set aside."""
    found = registry()
    table = _table("plugin", "from", "offers", "ms", "state")
    for plugin in found.plugins:
        state = "ok" if plugin.cause is None else f"set aside: {plugin.cause}"
        if plugin.cause is None and plugin.imported_torch:
            state = "ok, but imports torch when it is listed, which slows every command"
        if plugin.cause is None and not plugin.records:
            state = "ok, but offers nothing"
        _row(
            table,
            plugin.name,
            f"{plugin.distribution} {plugin.version}",
            _count(plugin.records),
            f"{1000 * plugin.seconds:.0f}",
            state,
        )
    _console().print(table)
    if found.broken:
        raise SystemExit(1)


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Fetch anew what is here already.")
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
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--encoder", "-e", required=True, help="Name of the encoder.")
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Parquet or CSV.")
@click.option("--weights", type=click.Path(path_type=Path), help="Local safetensors file.")
@click.option("--seed", type=int, help="For untrained networks and noise.")
@click.option("--device", help="cpu, cuda, cuda:1; by default a GPU where there is one.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Type of the computation; half precision is for GPUs.",
)
@click.option(
    "--scaling",
    type=click.Choice(["auto", "range", "percentile", "instance", "none"]),
    help="How pixel values become floats, in place of the encoder's record.",
)
def embed(
    source: Path,
    encoder: str,
    out: Path,
    weights: Path | None,
    seed: int | None,
    device: str | None,
    dtype: str,
    scaling: str | None,
) -> None:
    """Embed SOURCE: a table of files, a folder, or an image.

    A table has a column image (or image_STAIN for one file a channel); other columns are metadata.
    Images that cannot be used are reported and left out, and the exit status is 1.
    """
    from dataclasses import replace

    from .._data.sources import open_images
    from .._embedding.embed import embed as run
    from .._embedding.embeddings import check_output
    from .._encoders.loading import load

    check_output(out)
    dataset = open_images(source)
    loaded = load(encoder, device=device, dtype=dtype, weights=weights, seed=seed)
    if scaling is not None:
        changed: Any = scaling
        loaded.with_preprocessing(replace(loaded.spec.preprocessing, scaling=changed))
    with _progress(f"embedding {dataset.name}", len(dataset)) as advance:
        embeddings = run(dataset, loaded, on_error="skip", progress=advance)
    embeddings.write(out)
    rows, columns = embeddings.matrix.shape
    click.echo(f"{out}: {rows} images, {columns} features, by {encoder}")
    for item, reason in embeddings.failures:
        click.secho(f"left out {item}: {reason}", fg="red", err=True)
    if embeddings.failures:
        raise SystemExit(1)


@main.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--encoder", "-e", default=TRAINED, show_default=True, help="Name of the encoder.")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("attention.png"),
    show_default=True,
    help="A figure (.png, .svg, .pdf), or all numbers (.csv).",
)
@click.option("--layer", type=int, help="One layer, from 1, or from the end: -1. By default all.")
@click.option("--head", type=int, help="One head, from 1. By default all.")
@click.option("--weights", type=click.Path(path_type=Path), help="Local safetensors file.")
@click.option("--seed", type=int, help="For untrained networks.")
@click.option("--device", help="cpu, cuda, cuda:1; by default a GPU where there is one.")
def attention(
    image: Path,
    encoder: str,
    out: Path,
    layer: int | None,
    head: int | None,
    weights: Path | None,
    seed: int | None,
    device: str | None,
) -> None:
    """Draw how the channels of IMAGE attend to each other.

    Each row of the matrix says where the tokens of a channel look; below, where CLS looks. A figure
    averages layers and heads; a .csv lists each.
    """
    from .._encoders.features import Attention
    from .._encoders.loading import load
    from .._images.read import read_image
    from .._report.attention import FIGURES, TABLES, attention_table, draw_attention

    suffix = out.suffix.lower()
    if suffix not in FIGURES + TABLES:
        raise click.ClickException(f"{out} must end in {', '.join(FIGURES + TABLES)}")
    picture = read_image(image)
    loaded = load(encoder, device=device, weights=weights, seed=seed)
    found = loaded.attention([picture.pixels], stains=[picture.stains])[0]
    layers, heads = found.channels.shape[:2]
    chosen = {
        "layer": _choose("layer", layer, layers, encoder),
        "head": _choose("head", head, heads, encoder),
    }
    names = picture.stains or [f"channel {i}" for i in range(len(picture.pixels))]
    if suffix in TABLES:
        table = attention_table(found, names)
        for column, place in chosen.items():
            table = table if place is None else table[table[column] == place]
        out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(out, index=False)
    else:
        pick = tuple(slice(None) if p is None else slice(p - 1, p) for p in chosen.values())
        which = ", ".join(
            f"{column} {place}" if place else f"all {count} {column}s"
            for (column, place), count in zip(chosen.items(), (layers, heads), strict=True)
        )
        draw_attention(
            Attention(found.channels[pick], found.cls[pick]),
            loaded.prepare(picture.pixels, str(image)),
            names,
            f"{image.name} in {encoder}: attention, {which}",
            out,
        )
    click.echo(f"{out} is written: {encoder} has {layers} layers of {heads} heads.")


@main.command()
@click.argument("encoder")
@click.option("--dataset", "-d", help="Name (see 'zoo list'), or a table or folder of images.")
@click.option(
    "--suite",
    type=click.Choice(["scores", "full"]),
    default="scores",
    show_default=True,
    help="Scores with verdicts, or these with more controls and every diagnostic.",
)
@click.option("--label", help="Own images: the column of biology.")
@click.option("--group", help="Own images: the column of the independent unit (plate, patient).")
@click.option("--batch", help="Own images: a nuisance, shown in the map.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for the report and its tables.",
)
@click.option(
    "--pairs",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Full suite: CSV of two columns, perturbations that are known to be related.",
)
@click.option("--control", "-c", "controls", multiple=True, help="Controls in place of the usual.")
@click.option("--twin-seeds", default=5, show_default=True, help="Seeds of the untrained twin.")
@click.option("--device", help="cpu, cuda, cuda:1; by default a GPU where there is one.")
@click.option("--weights", type=click.Path(path_type=Path), help="Local safetensors file.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write cached embeddings.")
def evaluate(
    encoder: str,
    device: str | None,
    weights: Path | None,
    dataset: str | None,
    out: Path,
    no_cache: bool,
    controls: tuple[str, ...],
    pairs: Path | None,
    **options: Any,
) -> None:
    """Score ENCODER beside chance and beside controls, with a verdict.

    On images of your own, name the columns of your table:

    zoo evaluate ENCODER -d plate.csv --label dose --group plate

    ENCODER may also be a table of embeddings made elsewhere, of the same items as the dataset, or
    without a dataset:

    zoo evaluate profiles.parquet --label dose --group plate
    """
    subject = _subject(encoder, device, weights)
    if dataset is None and not hasattr(subject, "matrix"):
        raise click.UsageError("name a dataset with --dataset, or give a table of embeddings")
    if pairs is not None:
        import pandas as pd

        options["pairs"] = pd.read_csv(pairs)
    _evaluate(subject, dataset, out, controls=list(controls) or None, cache=not no_cache, **options)


@main.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--dataset", "-d", required=True, help="Name (see 'zoo list'), or a table or folder of images."
)
@click.option("--label", help="Own images: the column of biology.")
@click.option("--group", help="Own images: the column of the independent unit (plate, patient).")
@click.option("--batch", help="Own images: a nuisance.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder for comparison.csv.")
@click.option("--control", "-c", "controls", multiple=True, help="Controls in place of the usual.")
@click.option("--twin-seeds", default=5, show_default=True, help="Seeds of the untrained twins.")
@click.option("--device", help="cpu, cuda, cuda:1; by default a GPU where there is one.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write cached embeddings.")
def compare(
    first: str,
    second: str,
    dataset: str,
    out: Path | None,
    device: str | None,
    no_cache: bool,
    controls: tuple[str, ...],
    **options: Any,
) -> None:
    """Compare two encoders on the same items, paired, beside the controls of each."""
    from .._compare import compare as run

    one, other = (_subject(name, device, None) for name in (first, second))
    with _progress(f"embedding {dataset}", None) as advance:
        result = run(one, other, dataset, cache=not no_cache, progress=_ticker(advance), **options)
    console = _console()
    click.echo(result.render(width=max(console.width, 80), colour=console.is_terminal))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        result.to_csv(out / "comparison.csv")
        click.echo(f"{out / 'comparison.csv'} is written.")


def _subject(name: str, device: str | None, weights: Path | None) -> Any:
    """Load an encoder, read a table of embeddings, or leave it to the dataset to find them."""
    from .._encoders.loading import load

    if name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet")):
        from .._embedding.profiles import read_profiles

        return read_profiles(name)
    if name.startswith("precomputed:"):
        return name
    return load(name, device=device, weights=weights)


@main.command()
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for the report.",
)
def demo(out: Path) -> None:
    """Evaluate ChAda-ViT, untrained and (where it can be had) trained, on a synthetic plate."""
    from .._encoders.loading import load

    _evaluate(load(UNTRAINED), "phantom", out)
    weights = registry().encoder(TRAINED).weights
    if weights is not None and not is_cached(weights) and not is_reachable():
        click.echo(f"{TRAINED} is left out: its weights are not here and the hub is out of reach.")
        return
    try:
        trained = load(TRAINED)
    except WeightsError as error:
        click.echo(f"{TRAINED} is left out: {error}")
        return
    _evaluate(trained, "phantom", out / TRAINED)


@main.command()
def doctor() -> None:
    """Say what works on this machine and what does not, each with its mend."""
    from .doctor import examine

    table = _table("", "part", "finding")
    findings = examine()
    for finding in findings:
        mark = {"ok": "✓", "note": "–", "broken": "✗"}[finding.state]
        mend = f"\n→ {finding.mend}" if finding.mend else ""
        _row(table, mark, finding.part, finding.text + mend)
    _console().print(table)
    if any(finding.state == "broken" for finding in findings):
        raise SystemExit(1)


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
def convert(checkpoint: Path, out: Path) -> None:
    """Turn a pickled CHECKPOINT (.ckpt, .pth) into safetensors, once and without running its code.

    Tensors under state_dict are taken, and the prefixes backbone. or encoder. dropped.
    """
    from .._encoders.convert import convert as run

    names = run(checkpoint, out)
    click.echo(f"{out}: {len(names)} tensors")


def _choose(what: str, given: int | None, count: int, encoder: str) -> int | None:
    """Return a place from 1, or None where none was given."""
    if given is None:
        return None
    if not (1 <= given <= count or -count <= given <= -1):
        raise click.ClickException(f"{what} is {given}, but {encoder} has the {what}s 1 to {count}")
    return given if given > 0 else count + 1 + given


def _evaluate(encoder: Any, dataset: str | None, out: Path, **options: Any) -> None:
    from .._evaluate import evaluate as run

    out.mkdir(parents=True, exist_ok=True)  # now, and not after the work
    with _progress("embedding", None) as advance:
        result = run(encoder, dataset, progress=_ticker(advance), **options)
    console = _console()
    click.echo(result.render(width=max(console.width, 80), colour=console.is_terminal))
    page, *tables = result.write(out)
    click.echo(f"{page} is written, and beside it {', '.join(t.name for t in tables)}.")


def _ticker(show: Callable[..., None]) -> Callable[[str, int, int], None]:
    """Turn what is done so far into steps of a bar; another task starts the bar anew."""
    return lambda what, done, total: show(done, total, what)


@contextmanager
def _progress(title: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Show a bar on the terminal, and nothing where the output is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)

        def advance(count: int, out_of: int | None = None, what: str | None = None) -> None:
            if what is None:
                bar.advance(task, count)
            else:  # counted from the start of what is being done now
                bar.update(task, total=out_of, completed=count, description=what)

        yield advance


def _console(stderr: bool = False) -> "Console":
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return Console(stderr=stderr, width=width, highlight=False)


def _table(*headers: str, header: bool = True) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=header, pad_edge=False)
    for i, name in enumerate(headers):
        table.add_column(name, overflow="fold", no_wrap=i == 0)
    return table


def _row(table: "Table", *cells: str) -> None:
    """Add a row of plain text: names and causes may hold brackets, which are no markup."""
    from rich.text import Text

    table.add_row(*map(Text, cells))


def _channels(record: Any) -> str:
    low, high = record.channels
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}–{high}"


def _size(spec: EncoderSpec) -> str:
    return str(spec.embedding_size) if spec.embedding_size else "varies"


def _state(spec: EncoderSpec) -> str:
    if spec.weights is None:
        return "none needed"
    return "here" if is_cached(spec.weights) else "to pull"


def _what(spec: EncoderSpec) -> str:
    return f"{spec.control} control: {spec.summary}" if spec.control else spec.summary


def _count(records: tuple[Any, ...]) -> str:
    names = {EncoderSpec: "encoder", EncoderFamily: "family"}
    counts: dict[str, int] = {}
    for record in records:
        name = names.get(type(record), "dataset")
        counts[name] = counts.get(name, 0) + 1
    plural = {"family": "families"}
    return ", ".join(
        f"{n} {name if n == 1 else plural.get(name, name + 's')}" for name, n in counts.items()
    )
