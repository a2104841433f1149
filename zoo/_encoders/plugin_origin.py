"""Which plugin made an encoder, and a hash of its code: parts of provenance and cache keys."""

import hashlib
import sys
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from zoo.registry import EncoderSpec, registry
from zoo.registry.blame import OWN, modules_of

OUTSIDE = ("torch", "timm", "torchvision", "numpy", "zoo")


def origin_of(spec: EncoderSpec) -> dict[str, str]:
    """Return the plugin that offers a record and a hash of its code; empty for our own.

    The hash covers the Python files of all top-level packages that the plugin's records name or its
    distribution brings.
    """
    plugin = registry().origin(spec)
    if plugin is None or plugin.distribution == OWN:
        return {}
    packages = sorted(modules_of(plugin) | _brought(plugin.distribution))
    return {"plugin": str(plugin), "plugin_sha256": code_hash(*packages)}


def _brought(distribution: str) -> set[str]:
    """Return the top-level packages of a distribution, as its metadata list them."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return set()
    listed = set((found.read_text("top_level.txt") or "").split())
    for file in found.files or ():
        if file.suffix == ".py" and ".." not in file.parts:
            listed.add(file.parts[0].removesuffix(".py"))
    return {name for name in listed if name.isidentifier()}


@cache
def code_hash(*packages: str) -> str:
    """Hash the Python files of packages, sub-packages included."""
    digest = hashlib.sha256()
    for package in packages:
        for file in sources(package):
            digest.update(f"{package}/{file.name}".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def sources(name: str) -> list[Path]:
    """List the files of a package with its sub-packages, or the file of a single module."""
    if "." not in name and name not in sys.modules:
        spec = find_spec(name)  # which does not import it
        folders = list(spec.submodule_search_locations or ()) if spec else []
        file = spec.origin if spec else None
    else:
        module = import_module(name)
        folders = list(getattr(module, "__path__", ()))
        file = getattr(module, "__file__", None)  # a namespace has none
    if folders:
        return [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
    return [] if file is None or not Path(file).is_file() else [Path(file)]
