"""Records of the built-in plugins: listing them is light, and what they name exists."""

import subprocess
import sys

import pytest
from zoo.registry import registry
from zoo.registry.discovery import BUILTINS, resolve_target

import zoo

HEAVY = {"torch", "numpy", "pandas", "scipy", "skimage", "timm", "h5py", "pyarrow", "PIL"}


@pytest.mark.parametrize("plugin", BUILTINS)
def test_listing_imports_nothing_heavy(plugin):
    code = (
        f"import sys, {plugin} as plugin\n"
        "hooks = [getattr(plugin, h) for h in dir(plugin) if h.startswith('zoo_')]\n"
        "assert hooks and all(list(hook()) for hook in hooks)\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("plugin", registry().plugins, ids=lambda p: p.name)
def test_builders_and_resolvers_exist(plugin):
    assert plugin.records
    for record in plugin.records:
        family = isinstance(record, zoo.plugin.EncoderFamily)
        assert callable(resolve_target(record.resolver if family else record.builder))
