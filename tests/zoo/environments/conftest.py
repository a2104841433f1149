"""An environment made once, from wheels that are built here: no index is asked."""

import os
import sys
from pathlib import Path

import pytest
from wheels import borrowed_numpy, wheel

from zoo import plugin
from zoo._environments.making import create

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    borrowed_numpy(folder)
    for version, gain in (("1.0", 1), ("2.0", 2)):
        wheel(folder, "clashing", version, {"clashing.py": f"GAIN = {gain}\n"})
    return folder


@pytest.fixture(scope="session")
def requirements(wheels):
    return ("--no-index", f"--find-links {wheels}", "borrowed-numpy", "clashing==1.0")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def made(requirements, cache):
    """Make the environment, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(cache))
        return create(plugin.Environment(requirements=requirements))[0]


@pytest.fixture
def in_environment(made, requirements, cache, tmp_path, monkeypatch):
    """Return a function that makes the record of an encoder in the environment."""
    monkeypatch.setenv("ZOO_CACHE", str(cache))
    monkeypatch.syspath_prepend(HERE)
    host = tmp_path / "host"
    host.mkdir()
    (host / "clashing.py").write_text("GAIN = 2\n")
    monkeypatch.syspath_prepend(host)
    yield lambda builder="sound", *, limit=60.0, **fields: plugin.EncoderSpec(
        name=f"own-{builder}",
        builder=f"plugin_in_environment:{builder}",
        summary="s",
        environment=plugin.Environment(requirements=requirements, limit=limit),
        **fields,
    )
    for name in ("clashing", "plugin_in_environment"):
        sys.modules.pop(name, None)


def is_running(pid):
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False if Path("/proc/self").exists() else _answers(pid)


def _answers(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
