"""Find plugins, ask each one by itself, and keep what is sound.

A plugin that fails is set aside by name, with its distribution, version and cause; everything
else goes on. Nothing depends on the order in which plugins are found.
"""

import importlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import metadata
from typing import Any

import pluggy

from . import hookspecs
from .errors import PluginError, UnknownNameError, suggest
from .specs import DatasetSpec, EncoderFamily, EncoderSpec

GROUP = "zoo"
BUILTINS = (
    "zoo.plugins.encoders",
    "zoo.plugins.controls",
    "zoo.plugins.datasets",
    "zoo.plugins.phantom",
)
STRICT_VARIABLE = "ZOO_PLUGINS_STRICT"
SELECT_VARIABLE = "ZOO_PLUGINS"

Record = EncoderSpec | EncoderFamily | DatasetSpec
_HOOKS: dict[str, type[Record]] = {
    "zoo_encoders": EncoderSpec,
    "zoo_encoder_families": EncoderFamily,
    "zoo_datasets": DatasetSpec,
}


@dataclass
class PluginReport:
    """What became of one plugin.

    Parameters
    ----------
    name
        Module name of a built-in, entry-point name of an outsider.
    distribution, version
        Where it comes from.
    records
        What it offers; empty when it was set aside.
    cause
        Why it was set aside, or None.
    offered
        Names that a plugin set aside would have offered, so that asking for one explains itself.
    seconds, imported_torch
        What listing it cost.
    """

    name: str
    distribution: str
    version: str
    records: tuple[Record, ...] = ()
    cause: str | None = None
    offered: tuple[str, ...] = ()
    seconds: float = 0.0
    imported_torch: bool = False

    def __str__(self) -> str:
        """Name the plugin the way messages do."""
        return f"{self.name} ({self.distribution} {self.version})"


def record_key(record: Record) -> tuple[str, str]:
    """Kind of name and name: encoders and families share one space, datasets have their own."""
    match record:
        case EncoderFamily():
            return "encoder", f"{record.scheme}:"
        case DatasetSpec():
            return "dataset", record.name
        case _:
            return "encoder", record.name


@dataclass
class Registry:
    """Everything that was found.

    Parameters
    ----------
    plugins
        One report for each plugin, sound or set aside, built-ins first.
    encoders, families, datasets
        What the sound ones offer, by name.
    """

    plugins: list[PluginReport] = field(default_factory=list)
    encoders: dict[str, EncoderSpec] = field(default_factory=dict)
    families: dict[str, EncoderFamily] = field(default_factory=dict)
    datasets: dict[str, DatasetSpec] = field(default_factory=dict)

    @property
    def broken(self) -> list[PluginReport]:
        """The plugins that were set aside."""
        return [p for p in self.plugins if p.cause is not None]

    def encoder(self, name: str) -> EncoderSpec:
        """Return the record of an encoder, fixed or from a family.

        Raises
        ------
        UnknownNameError
            With the nearest names, or with the broken plugin that would have offered this one.
        """
        if name in self.encoders:
            return self.encoders[name]
        scheme, colon, rest = name.partition(":")
        if colon and scheme in self.families:
            if not rest:
                examples = ", ".join(self.families[scheme].examples) or "see its documentation"
                raise UnknownNameError(f"{name!r} needs a name after the colon, as in {examples}.")
            spec = resolve_target(self.families[scheme].resolver)(rest)
            if not isinstance(spec, EncoderSpec) or spec.name != name:
                raise PluginError(
                    f"The family {scheme}: answered {name!r} with {spec!r}, not with its record."
                )
            return spec
        raise self._unknown("encoder", name, [*self.encoders, *(f"{s}:" for s in self.families)])

    def dataset(self, name: str) -> DatasetSpec:
        """Return the record of a dataset; raises `UnknownNameError` with near names."""
        if name in self.datasets:
            return self.datasets[name]
        raise self._unknown("dataset", name, list(self.datasets))

    def origin(self, record: Record) -> PluginReport | None:
        """Return the plugin that offers a record; for a family's encoder, the family's plugin."""
        kind, name = record_key(record)
        scheme = name.partition(":")[0] + ":"
        for plugin in self.plugins:
            keys = {record_key(r) for r in plugin.records}
            if (kind, name) in keys or (kind, scheme) in keys:
                return plugin
        return None

    def _unknown(self, kind: str, name: str, known: list[str]) -> UnknownNameError:
        wanted = {name, name.partition(":")[0] + ":"}
        for plugin in self.broken:
            if wanted & set(plugin.offered):
                return UnknownNameError(
                    f"{kind.capitalize()} {name!r} comes from the plugin {plugin}, "
                    f"which was set aside: {plugin.cause}"
                )
        hint = suggest(name, known)
        if self.broken:
            hint += f" {len(self.broken)} plugin(s) were set aside: see 'zoo plugins'."
        listing = "'zoo list' shows the known ones" if kind == "encoder" else ", ".join(known)
        return UnknownNameError(f"No {kind} is called {name!r} ({listing}).{hint}")


def resolve_target(target: str) -> Callable[..., Any]:
    """Import ``"module:callable"``; raises `PluginError` naming the target and the cause.

    Examples
    --------
    >>> zoo.registry.resolve_target("math:sqrt")(9)
    3.0
    """
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{target} cannot be imported: {error}") from error


def discover(
    builtins: Iterable[str] = BUILTINS,
    entry_points: Iterable[metadata.EntryPoint] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Registry:
    """Find all plugins and ask each one.

    Parameters
    ----------
    builtins
        Dotted names of plugin modules that always belong.
    entry_points
        Outsiders; by default those of the group ``zoo`` of all installed distributions.
    environ
        ``ZOO_PLUGINS`` narrows outsiders to a comma-separated list of names (empty: none);
        ``ZOO_PLUGINS_STRICT=1`` raises instead of setting aside.

    Raises
    ------
    PluginError
        In strict mode, for the first plugin that would be set aside.

    Examples
    --------
    >>> found = zoo.registry.discover(environ={"ZOO_PLUGINS": ""})
    >>> "chadavit-untrained" in found.encoders
    True
    """
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(hookspecs)
    if entry_points is None:
        entry_points = metadata.entry_points(group=GROUP)
    selected = environ.get(SELECT_VARIABLE)
    if selected is not None:
        names = {part.strip() for part in selected.split(",")}
        entry_points = [e for e in entry_points if e.name in names]

    plugins = [
        _ask(manager, name, "microscopy-zoo", _version(), partial(importlib.import_module, name))
        for name in builtins
    ]
    own = len(plugins)
    for entry in sorted(set(entry_points), key=lambda e: (_dist(e)[0], e.name)):
        plugins.append(_ask(manager, entry.name, *_dist(entry), entry.load))
    _set_clashes_aside(plugins, own)

    registry = Registry(plugins=plugins)
    if registry.broken and environ.get(STRICT_VARIABLE, "") not in ("", "0"):
        raise PluginError(f"Plugin {registry.broken[0]}: {registry.broken[0].cause}")
    for record in (record for plugin in plugins for record in plugin.records):
        match record:
            case EncoderFamily():
                registry.families[record.scheme] = record
            case DatasetSpec():
                registry.datasets[record.name] = record
            case _:
                registry.encoders[record.name] = record
    return registry


@cache
def registry() -> Registry:
    """Return what this environment offers; found once per process.

    Examples
    --------
    >>> sorted(zoo.registry.registry().families)[:2]
    ['chadavit', 'chadavit-untrained']
    """
    return discover()


def _version() -> str:
    try:
        return metadata.version("microscopy-zoo")
    except metadata.PackageNotFoundError:
        return "unknown"


def _dist(entry: metadata.EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "unknown")


def _ask(
    manager: pluggy.PluginManager, name: str, dist: str, version: str, load: Callable[[], Any]
) -> PluginReport:
    """Import one plugin, register it and collect its records; whatever happens is in the report."""
    report = PluginReport(name=name, distribution=dist, version=version)
    torch_before = "torch" in sys.modules
    start = time.perf_counter()
    key = f"{dist}:{name}"  # two distributions may use the same entry-point name
    plugin = None
    try:
        plugin = load()
        _refuse_unmarked_hooks(plugin)
        manager.register(plugin, key)
        manager.check_pending()
        report.records = tuple(_records(manager, key))
    except (Exception, SystemExit) as error:
        report.cause = _explain(error)
        if plugin is not None and manager.has_plugin(key):
            manager.unregister(name=key)
    report.seconds = time.perf_counter() - start
    report.imported_torch = not torch_before and "torch" in sys.modules
    return report


def _refuse_unmarked_hooks(plugin: Any) -> None:
    for hook in _HOOKS:
        function = getattr(plugin, hook, None)
        if callable(function) and not hasattr(function, "zoo_impl"):
            raise PluginError(
                f"{hook}() lacks the @zoo.plugin.hookimpl mark, so it would be ignored"
            )


def _records(manager: pluggy.PluginManager, key: str) -> Iterable[Record]:
    seen: set[tuple[str, str]] = set()
    for hook, kind in _HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin_name != key:
                continue
            for record in implementation.function():
                if not isinstance(record, kind):
                    raise PluginError(f"{hook}() gave {record!r}, which is no {kind.__name__}")
                if record_key(record) in seen:
                    raise PluginError(f"{hook}() gives the name {record_key(record)[1]!r} twice")
                seen.add(record_key(record))
                yield record


def _explain(error: BaseException) -> str:
    if isinstance(error, pluggy.PluginValidationError) and "unknown hook" in str(error):
        found = str(error).split("'")[1]
        return (
            f"it implements {found}(), which this version does not know (known: "
            f"{', '.join(_HOOKS)}): misspelt, or made for a newer microscopy-zoo"
        )
    if isinstance(error, PluginError):
        return str(error)
    where = ""
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    if frames:
        where = f" ({frames[-1].filename}:{frames[-1].lineno})"
    return f"{type(error).__name__}: {error}{where}"


def _set_clashes_aside(plugins: list[PluginReport], own: int) -> None:
    """Set aside every outsider whose name another plugin claims; built-ins keep theirs."""
    claims: dict[tuple[str, str], list[int]] = {}
    for i, plugin in enumerate(plugins):
        for record in plugin.records:
            claims.setdefault(record_key(record), []).append(i)
    for (kind, name), claimants in claims.items():
        if len(claimants) < 2:
            continue
        for i in claimants:
            if i < own and claimants[0] == i:
                continue  # the first built-in keeps the name; a test keeps built-ins apart
            others = " and ".join(str(plugins[j]) for j in claimants if j != i)
            plugins[i].cause = f"it claims the {kind} name {name!r}, which {others} claims too"
    for plugin in plugins:
        if plugin.cause is not None and plugin.records:
            plugin.offered = tuple(record_key(r)[1] for r in plugin.records)
            plugin.records = ()
