"""Commands that show what is installed: list, info and plugins."""

from collections.abc import Iterator
from typing import Any

import click

from zoo.registry import (
    Design,
    EncoderFamily,
    EncoderSpec,
    Registry,
    is_cached,
    registry,
)
from zoo.registry.hub import by_hand
from zoo.registry.hub_client import hub_endpoint

from .._encoders.terms import access_page
from .group import main
from .terminal import add_row, console
from .terminal import table as table_of

_SLOW = 0.5
"""Seconds of importing a plugin from which it is called slow."""


@main.command(name="list")
@click.argument("pattern", default="")
def list_(pattern: str) -> None:
    """List encoders, families and datasets.

    With PATTERN, those whose name or summary contains it.
    """
    found = registry()

    def wanted(*texts: str) -> bool:
        return any(pattern.lower() in text.lower() for text in texts)

    encoders = [s for s in found.encoders.values() if wanted(s.name, s.summary)]
    families = [f for f in found.families.values() if wanted(f.scheme + ":", f.summary)]
    datasets = [d for d in found.datasets.values() if wanted(d.name, d.summary)]
    if not encoders and not families and not datasets:
        tell_set_aside(found)
        raise click.ClickException(f"nothing matches {pattern!r}; 'zoo list' shows everything")
    table = table_of("encoder", "channels", "size", "weights", "what it is")
    for spec in sorted(encoders, key=lambda s: (s.role == "control", s.name)):
        add_row(table, spec.name, _channels(spec), _size(spec), _state(spec), _what(spec))
    for family in families:
        add_row(table, f"{family.scheme}:…", "", "", "", family.summary)
    if encoders or families:
        console().print(table)
    if datasets:
        table = table_of("dataset", "channels", "what it is")
        for dataset in datasets:
            low, high = dataset.channels
            add_row(
                table, dataset.name, str(low) if low == high else f"{low}–{high}", dataset.summary
            )
        console().print(table)
    tell_set_aside(found)


def tell_set_aside(found: Registry) -> None:
    """Say how many plugins were set aside, and which of ``ZOO_PLUGINS`` are not installed."""
    if found.broken:
        click.secho(
            f"{len(found.broken)} plugin(s) were set aside: see 'zoo plugins'",
            fg="yellow",
            err=True,
        )
    if found.not_installed:
        names = ", ".join(found.not_installed)
        click.secho(
            f"ZOO_PLUGINS names {names}: no such plugin is installed", fg="yellow", err=True
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
    elif any(name in p.offered for p in found.broken):
        record = found.dataset(name)  # raises, and names the plugin
    else:
        record = found.encoder(name)
    table = table_of("", "", header=False)
    origin = found.origin(record)
    for field, value in _fields(record):
        if value in (None, "", (), {}):
            continue
        if field == "tasks":
            value = "\n".join(f"{t.title}: {t.kind} of {t.target}" for t in value)
        elif field == "channels":
            value = _channels(record)
        elif field == "pixel_size" and isinstance(value, tuple):
            value = ", ".join(f"{micrometres:g}" for micrometres in value) + " µm, in training"
        elif field == "options":
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, tuple):
            value = "\n".join(map(str, value))
        add_row(table, field.replace("_", " "), str(value))
    if isinstance(record, EncoderSpec) and record.all_files:
        add_row(table, "on this machine", _whether_here(record))
        if asked := access_page(record):
            add_row(table, "access", f"gated: ask at {asked}")
    if isinstance(record, EncoderSpec) and record.environment is not None:
        from .._environments.making import find, folder_of

        there = find(folder_of(record.environment)) is not None
        add_row(table, "environment made", "yes" if there else f"no: zoo env create {name}")
    if origin is not None:
        add_row(table, "plugin", str(origin))
    console().print(table)


@main.command()
@click.option("--check", is_flag=True, help="Build everything, each plugin in its own process.")
@click.option(
    "--limit",
    type=click.FloatRange(min=0.1),
    default=60,
    show_default=True,
    help="Seconds that a plugin may take with --check.",
)
def plugins(check: bool, limit: float) -> None:
    """Show all plugins, their time and their errors.

    ZOO_PLUGINS=a,b asks only the plugins of these names, ZOO_PLUGINS= only the built-in ones, and
    ZOO_PLUGINS_STRICT=1 makes a plugin that is set aside an error.
    """
    if check:
        _check(limit)
        return
    found = registry()
    table = table_of("plugin", "from", "offers", "ms", "state")
    for plugin in found.plugins:
        fix = f"; {plugin.fix}" if plugin.fix else ""
        state = "ok" if plugin.cause is None else f"set aside: {plugin.cause}{fix}"
        if plugin.cause is None and plugin.seconds > _SLOW:
            state = "ok, but slow to import, which slows every command"
        if plugin.cause is None and plugin.imported_torch:
            state = "ok, but imports torch when it is listed, which slows every command"
        if plugin.cause is None and not plugin.records:
            state = "ok, but offers nothing"
        if plugin.printed:
            state += f"; it prints {plugin.printed.splitlines()[0][:60]!r}"
        add_row(
            table,
            plugin.name,
            f"{plugin.distribution} {plugin.version}",
            _count(plugin.records),
            f"{1000 * plugin.seconds:.0f}",
            state,
        )
    console().print(table)
    if found.not_installed:
        tell_set_aside(found)
    if found.broken:
        raise SystemExit(1)


def _check(limit: float) -> None:
    """Show what building everything that outside plugins offer came to."""
    from .plugin_check import check_plugins

    table = table_of("plugin", "from", "built", "s", "state")
    failed = False
    for plugin in check_plugins(limit):
        failed |= bool(plugin.problems)
        state = "\n".join(plugin.problems + plugin.notes) or "ok"
        cells = (plugin.distribution, str(plugin.built), f"{plugin.seconds:.1f}", state)
        add_row(table, plugin.name, *cells)
    if not table.row_count:
        click.echo("no plugins are installed, besides the built-in ones")
        return
    console().print(table)
    if failed:
        raise SystemExit(1)


def _fields(record: Any) -> Iterator[tuple[str, Any]]:
    """Give the fields of a record, those of its design one by one."""
    for field in record.__dataclass_fields__:
        value = getattr(record, field)
        if isinstance(value, Design):
            yield from _fields(value)
        else:
            yield field, value


def _channels(record: Any) -> str:
    low, high = record.channels
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}–{high}"


def _size(spec: EncoderSpec) -> str:
    return str(spec.embedding_size) if spec.embedding_size else "varies"


def _whether_here(spec: EncoderSpec) -> str:
    pickle = next((file for file in spec.all_files if file.is_pickle), None)
    if pickle is not None:
        return "no: " + by_hand(pickle, hub_endpoint(None))
    return "yes" if all(map(is_cached, spec.all_files)) else f"no: zoo pull {spec.name}"


def _state(spec: EncoderSpec) -> str:
    if not spec.all_files:
        return "none needed"
    if any(file.is_pickle for file in spec.all_files):
        return "by hand"
    return "here" if all(map(is_cached, spec.all_files)) else "to pull"


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
