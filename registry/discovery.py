"""Find plugins and collect their records.

A plugin that fails is set aside by name, with its distribution, version and cause, and does not
affect the others. The order in which plugins are found does not matter.
"""

import importlib
import inspect
import io
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
from .api import VARIABLE, check_source, check_version
from .blame import OWN, blamed, fix
from .clashes import keep_offers, set_clashes_aside, set_strangers_aside
from .designs import DatasetSpec
from .errors import PluginError, UnknownNameError, ZooError, suggest
from .isolation import Interrupted, isolated
from .plugin_report import PluginReport, Record, record_key
from .specs import EncoderFamily, EncoderSpec

GROUP = "zoo"
BUILTINS = (
    "zoo.plugins.encoders",
    "zoo.plugins.controls",
    "zoo.plugins.datasets",
    "zoo.plugins.phantom",
)
STRICT_VARIABLE = "ZOO_PLUGINS_STRICT"
SELECT_VARIABLE = "ZOO_PLUGINS"

_HOOKS: dict[str, type[Record]] = {
    "zoo_encoders": EncoderSpec,
    "zoo_encoder_families": EncoderFamily,
    "zoo_datasets": DatasetSpec,
}


@dataclass
class Registry:
    """All plugins and their records.

    Parameters
    ----------
    plugins
        One report for each plugin, loaded or set aside, built-ins first.
    encoders, families, datasets
        Records of the loaded plugins, by name.
    not_installed
        Names in ``ZOO_PLUGINS`` that no installed plugin has.
    """

    plugins: list[PluginReport] = field(default_factory=list)
    encoders: dict[str, EncoderSpec] = field(default_factory=dict)
    families: dict[str, EncoderFamily] = field(default_factory=dict)
    datasets: dict[str, DatasetSpec] = field(default_factory=dict)
    not_installed: tuple[str, ...] = ()

    @property
    def broken(self) -> list[PluginReport]:
        """The plugins that were set aside."""
        return [p for p in self.plugins if p.cause is not None]

    def encoder(self, name: str) -> EncoderSpec:
        """Return the record of an encoder, fixed or from a family.

        Raises
        ------
        UnknownNameError
            With similar names, or with the broken plugin that would have offered this one.
        """
        if name in self.encoders:
            return self.encoders[name]
        scheme, colon, rest = name.partition(":")
        if colon and scheme in self.families:
            if not rest:
                examples = ", ".join(self.families[scheme].examples) or "see its documentation"
                raise UnknownNameError(f"{name!r} needs a name after the colon, as in {examples}.")
            return self._resolved(self.families[scheme], rest)
        raise self._unknown("encoder", name, [*self.encoders, *(f"{s}:" for s in self.families)])

    def _resolved(self, family: EncoderFamily, rest: str) -> EncoderSpec:
        name, origin = f"{family.scheme}:{rest}", self.origin(family)
        try:
            spec = resolve_target(family.resolver)(rest)
        except ZooError:
            raise
        except Exception as error:
            if origin is None or origin.distribution == OWN:
                raise
            raise blamed(f"{name!r} cannot be resolved", origin, error) from error
        if not isinstance(spec, EncoderSpec) or spec.name != name:
            found = spec.name if isinstance(spec, EncoderSpec) else type(spec).__name__
            raise PluginError(
                f"The family {family.scheme}: of the plugin {origin} returned {found!r} for "
                f"{name!r}, not its record."
            )
        return spec

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
    """Find all plugins and collect their records.

    Parameters
    ----------
    builtins
        Dotted names of the built-in plugin modules.
    entry_points
        Third-party plugins; by default the group ``zoo`` of all installed distributions.
    environ
        ``ZOO_PLUGINS`` limits third-party plugins to a comma-separated list of names (empty:
        none); ``ZOO_PLUGINS_STRICT=1`` raises instead of setting aside.

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
    absent: tuple[str, ...] = ()
    if selected is not None:
        names = {part.strip() for part in selected.split(",")} - {""}
        entry_points = [e for e in entry_points if e.name in names]
        absent = tuple(sorted(names - {e.name for e in entry_points}))

    plugins = [
        _load(manager, name, OWN, _version(), partial(importlib.import_module, name), name)
        for name in builtins
    ]
    own = len(plugins)
    origins = {entry: _dist(entry) for entry in entry_points}  # each is read and parsed once
    for entry, origin in sorted(origins.items(), key=lambda pair: (pair[1][0], pair[0].name)):
        module = getattr(entry, "module", "")
        plugins.append(_load(manager, entry.name, *origin, entry.load, module))
    set_clashes_aside(plugins, own)
    set_strangers_aside(plugins, own)
    keep_offers(plugins)

    registry = Registry(plugins=plugins, not_installed=absent)
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
    """Return the registry of this environment; cached for the process.

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
    if not entry.dist:
        return "unknown", "unknown"
    about = getattr(entry.dist, "metadata", None)
    if about is None or about["Name"] is None or about["Version"] is None:
        return entry.dist.name, entry.dist.version
    return about["Name"], about["Version"]


def _load(
    manager: pluggy.PluginManager,
    name: str,
    dist: str,
    version: str,
    load: Callable[[], Any],
    module: str,
) -> PluginReport:
    """Import one plugin, register it and collect its records; errors go into the report."""
    report = PluginReport(name=name, distribution=dist, version=version, module=module)
    torch_before = "torch" in sys.modules
    start = time.perf_counter()
    key = f"{dist}:{name}"  # two distributions may use the same entry-point name
    plugin = None
    said = io.StringIO()
    try:
        with isolated(said):
            if dist != OWN:
                check_source(module)
            plugin = load()
            check_version(getattr(plugin, VARIABLE, None))
            _refuse_unmarked_hooks(plugin)
            manager.register(plugin, key)
            manager.check_pending()
            report.records = tuple(_records(manager, key))
    except Interrupted:
        raise KeyboardInterrupt from None
    except BaseException as error:  # also what ends a program, or what a test framework skips by
        report.cause = _explain(error)
        report.fix = "" if "update" in report.cause else fix(report, error)
        if plugin is not None and manager.has_plugin(key):
            manager.unregister(name=key)
    report.printed = said.getvalue().strip()
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
            offered = implementation.function()
            if not isinstance(offered, Iterable) or isinstance(offered, str | Mapping):
                raise PluginError(
                    f"{hook}() returned {type(offered).__name__}, but must yield or return a list "
                    f"of {kind.__name__}"
                )
            for record in offered:
                if not isinstance(record, kind):
                    raise PluginError(f"{hook}() returned {record!r}, not {kind.__name__}")
                if record_key(record) in seen:
                    raise PluginError(f"{hook}() returns the name {record_key(record)[1]!r} twice")
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
    if isinstance(error, TypeError) and "Spec.__init__() got an unexpected" in str(error):
        return f"{error}: a slip, or a field of a newer microscopy-zoo"
    where = ""
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    if frames:
        where = f" ({frames[-1].filename}:{frames[-1].lineno})"
    return f"{type(error).__name__}: {error}{where}"
