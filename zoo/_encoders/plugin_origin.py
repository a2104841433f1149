"""Which plugin made an encoder, and a hash of its code: parts of provenance and cache keys."""

import hashlib
from functools import cache
from importlib import import_module
from pathlib import Path

from zoo.registry import EncoderSpec, registry
from zoo.registry.blame import OWN, modules_of

OUTSIDE = ("torch", "timm", "torchvision", "numpy", "zoo")


def origin_of(spec: EncoderSpec) -> dict[str, str]:
    """Return the plugin that offers a record and a hash of its code; empty for our own.

    The hash covers the Python files of all top-level packages that the plugin's records name.
    """
    plugin = registry().origin(spec)
    if plugin is None or plugin.distribution == OWN:
        return {}
    return {"plugin": str(plugin), "plugin_sha256": code_hash(*sorted(modules_of(plugin)))}


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
    module = import_module(name)
    if hasattr(module, "__path__"):
        return [file for folder in module.__path__ for file in sorted(Path(folder).rglob("*.py"))]
    file = getattr(module, "__file__", None)  # a namespace has none
    return [] if file is None else [Path(file)]
