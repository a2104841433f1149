"""Set aside plugins that claim names of others."""

from .blame import fix
from .errors import PluginError
from .plugin_report import PluginReport, record_key
from .specs import EncoderFamily


def set_clashes_aside(plugins: list[PluginReport], own: int) -> None:
    """Set aside third-party plugins that claim another plugin's name; built-ins keep theirs."""
    claims: dict[tuple[str, str], list[int]] = {}
    for i, plugin in enumerate(plugins):
        for record in plugin.records:
            kind, name = record_key(record)
            claims.setdefault((kind, name.lower()), []).append(i)
    for (kind, name), claimants in claims.items():
        if len(claimants) < 2:
            continue
        for i in claimants:
            if i < own and claimants[0] == i:
                continue  # the first built-in keeps the name; a test keeps built-ins apart
            others = " and ".join(str(plugins[j]) for j in claimants if j != i)
            plugins[i].cause = f"it claims the {kind} name {name!r}, which {others} claims too"
            plugins[i].fix = f"uninstall {plugins[i].distribution} or the other one"


def set_strangers_aside(plugins: list[PluginReport], own: int) -> None:
    """Set aside third-party plugins that claim a name with the scheme of another's family."""
    owners = {r.scheme: p for p in plugins for r in p.records if isinstance(r, EncoderFamily)}
    for plugin in plugins[own:]:
        for record in plugin.records:
            scheme, colon, _ = getattr(record, "name", "").partition(":")
            if plugin.cause is None and colon and owners.get(scheme) is not plugin:
                owner = owners.get(scheme)
                whose = f"to the plugin {owner}" if owner else "to no family of this plugin"
                plugin.cause = (
                    f"it claims the encoder name {record.name!r}, but names that begin with "  # type: ignore[union-attr]
                    f"{scheme}: belong {whose}"
                )
                plugin.fix = fix(plugin, PluginError())


def keep_offers(plugins: list[PluginReport]) -> None:
    """Keep the names that plugins set aside would have offered, for messages."""
    for plugin in plugins:
        if plugin.cause is not None and plugin.records:
            plugin.offered = tuple(record_key(r)[1] for r in plugin.records)
            plugin.records = ()
