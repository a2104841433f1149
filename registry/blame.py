"""Name the plugin that raised an error, and say what to do."""

from types import TracebackType

from .errors import PluginError
from .plugin_report import PluginReport

OWN = "microscopy-zoo"


def blamed(what: str, plugin: PluginReport, error: BaseException) -> PluginError:
    """Return an error that names the plugin, its distribution, the cause and the fix.

    Parameters
    ----------
    what
        What failed, such as ``"'brightness' cannot be built"``.
    plugin, error
        Where it comes from, and what was raised.
    """
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return PluginError(f"{what}, which the plugin {plugin} offers: {cause}; {fix(plugin, error)}")


def fix(plugin: PluginReport, error: BaseException) -> str:
    """Say what to do about an error of a plugin."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"it needs {error.name.partition('.')[0]}, which is not installed: install it"
    return f"update or uninstall {plugin.distribution}, or tell its authors"


def modules_of(plugin: PluginReport) -> set[str]:
    """Return the top-level packages that a plugin's records name, besides its own module."""
    targets = [plugin.module] if plugin.module else []
    for record in plugin.records:
        targets += [getattr(record, name, None) or "" for name in ("builder", "resolver")]
    return {t.partition(":")[0].partition(".")[0] for t in targets} - {"", "zoo"}


def culprit(plugins: list[PluginReport], error: BaseException) -> PluginReport | None:
    """Return the outside plugin whose code raised an error, or None."""
    owners = {top: p for p in plugins if p.distribution != OWN for top in modules_of(p)}
    found = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        found = owners.get(name.partition(".")[0], found)
        trace = trace.tb_next
    return found
