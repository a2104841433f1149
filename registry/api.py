"""The version of the plugin interface that a plugin declares, checked before it is imported."""

import importlib.util
import re
from pathlib import Path
from typing import Any

from .errors import PluginError

API_VERSION = 1
"""Version of hooks, records and base classes; raised when an old plugin would no longer work."""
OLDEST = 1
VARIABLE = "ZOO_API_VERSION"
_DECLARED = re.compile(rf"^{VARIABLE}\s*(?::\s*int\s*)?=\s*(\d+)\s*(?:#.*)?$", re.MULTILINE)


def check_source(module: str | None) -> None:
    """Refuse a plugin by the version that its source declares, without importing it.

    A module whose source cannot be found passes: importing it will tell.

    Raises
    ------
    PluginError
        If the version is too old or too new.
    """
    source = _source(module) if module else None
    if source is not None and (found := _DECLARED.search(source)):
        check_version(int(found[1]))


def check_version(declared: Any) -> None:
    """Refuse a version of the interface that this release does not have.

    Raises
    ------
    PluginError
        Saying which side to update.
    """
    if declared is None:
        return
    if not isinstance(declared, int) or isinstance(declared, bool):
        raise PluginError(f"{VARIABLE} is {declared!r}, but must be a whole number")
    if declared > API_VERSION:
        raise PluginError(
            f"it is written for version {declared} of the plugin interface, and this "
            f"microscopy-zoo has version {API_VERSION}: update microscopy-zoo"
        )
    if declared < OLDEST:
        raise PluginError(
            f"it is written for version {declared} of the plugin interface, and this "
            f"microscopy-zoo has versions {OLDEST} to {API_VERSION}: update the plugin"
        )


def _source(module: str) -> str | None:
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        places = [Path(spec.origin)] if spec.origin else []
    else:
        folders = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
        places = [p for f in folders for p in (f.with_suffix(".py"), f / "__init__.py")]
    for place in places:
        try:
            return place.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return None
