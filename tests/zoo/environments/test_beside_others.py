"""Encoders in environments of their own beside ours: commands, and one table of scores."""

import json
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from outsiders import install, python, zoo

PLUGIN = """
    from zoo import plugin

    @plugin.hookimpl
    def zoo_encoders():
        yield plugin.EncoderSpec(
            name="{name}",
            builder="{module}_builder:build",
            summary="Mean and deviation",
            embedding_size=3,
            environment=plugin.Environment(requirements={requirements!r}),
        )
"""
BUILDER = """
    import numpy as np

    def build(options, *, weights, seed, device):
        major = int(np.__version__.split(".")[0])

        def embed(batch):
            return np.stack([[x.mean(), x.std(), major] for x in batch.images()])

        return embed
"""
COMPARE = """
import json, sys
import numpy as np
import zoo
names = sys.argv[1:]
found = zoo.compare(*names, "phantom", controls=["constant"], cache=False)
embedded = zoo.embed([np.ones((1, 64, 64), np.uint8)], names[0], cache=False)
print(json.dumps({"text": str(found), "major": float(embedded.matrix[0, 2]),
                  "numpy": embedded.provenance["environment"].get("numpy", "")}))
"""


def outsider(site, name, requirements):
    module = name.replace("-", "_")
    install(site, module, PLUGIN.format(name=name, module=module, requirements=requirements))
    (site / f"{module}_builder.py").write_text(textwrap.dedent(BUILDER))


@pytest.fixture
def site(tmp_path, made, requirements):
    outsider(tmp_path, "own-made", requirements)
    outsider(tmp_path, "own-missing", (*requirements, "clashing<2"))
    outsider(tmp_path, "own-broken", requirements)
    broken = "def build(options, **_):\n    raise RuntimeError('no licence file')\n"
    (tmp_path / "own_broken_builder.py").write_text(broken)
    return tmp_path


def test_a_list_of_environments(site, cache):
    done = zoo(site, "env", "list", ZOO_CACHE=str(cache))
    lines = {name: line for line in done.stdout.splitlines() for name in ("own-made", "own-missing")
             if f" {name} " in line}  # fmt: skip
    assert lines["own-made"].split()[-1] == "whole", done.stderr
    assert "missing: zoo env create own-missing" in lines["own-missing"]
    alone = zoo(site, "env", "list", ZOO_CACHE=str(cache), ZOO_PLUGINS="")
    assert "none that is installed" in alone.stdout


def test_creating_what_is_there_and_what_needs_none(site, cache):
    done = zoo(site, "env", "create", "own-made", ZOO_CACHE=str(cache))
    assert "own-made: the environment is there already (--force makes it again)" in done.stdout
    done = zoo(site, "env", "create", "constant", ZOO_CACHE=str(cache))
    assert done.returncode == 1
    assert "constant needs no environment of its own" in done.stderr
    done = zoo(site, "env", "create", "own-missing", "--python", "no-such-python")
    assert "there is no interpreter no-such-python" in done.stderr


def test_embedding_before_it_is_made_installs_nothing(site, tmp_path):
    empty = tmp_path / "empty"
    np.save(tmp_path / "x.npy", np.zeros((1, 32, 32), np.uint8))
    done = zoo(site, "evaluate", "own-made", "-d", "phantom", ZOO_CACHE=str(empty))
    assert done.returncode == 1
    assert "not made yet: run 'zoo env create own-made'" in done.stderr
    assert not (empty / "environments").exists()


def test_a_failing_builder_names_its_plugin(site, cache):
    done = zoo(site, "evaluate", "own-broken", "-d", "phantom", ZOO_CACHE=str(cache))
    assert done.returncode == 1
    who = "'own-broken' of the plugin own_broken (own-broken 1.2), in its own environment, raised"
    assert f"{who} RuntimeError: no licence file" in done.stderr
    assert "a bug" not in done.stderr


def test_the_record_says_whether_it_is_made(site, cache):
    said = zoo(site, "info", "own-made", ZOO_CACHE=str(cache)).stdout
    assert "borrowed-numpy, clashing==1.0" in said
    assert re.search(r"environment made +yes", said)
    said = zoo(site, "info", "own-missing", ZOO_CACHE=str(cache)).stdout
    assert "no: zoo env create own-missing" in said


def test_removing(site, tmp_path):
    cache = tmp_path / "cache"
    half = cache / "environments" / "0123456789abcdef"
    half.mkdir(parents=True)
    listed = zoo(site, "env", "list", ZOO_CACHE=str(cache))
    assert f"half made: zoo env remove {half.name}" in listed.stdout
    done = zoo(site, "env", "remove", half.name, ZOO_CACHE=str(cache))
    assert "is removed" in done.stdout, done.stderr
    assert not half.exists()
    done = zoo(site, "env", "remove", "own-made", ZOO_CACHE=str(cache))
    assert "there is no environment of own-made to remove" in done.stderr
    for name in ("..", "."):
        done = zoo(site, "env", "remove", name, ZOO_CACHE=str(cache))
        assert done.returncode == 1
    assert cache.exists()


def test_a_check_says_which_environment_comes_first(site, cache):
    done = zoo(site, "plugins", "--check", ZOO_CACHE=str(cache))
    said = " ".join(done.stdout.split())
    assert "zoo env create own-missing comes first" in said
    assert done.returncode == 1
    assert "own-broken: PluginError" in said
    (line,) = [x for x in done.stdout.splitlines() if x.strip().startswith("own_made ")]
    assert line.split()[-1] == "ok"
    assert " 1 " in line  # built


@pytest.mark.slow
def test_one_table_with_ours(site, cache):
    done = python(site, COMPARE, "own-made", "pixel-statistics", ZOO_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["major"] == int(np.__version__.partition(".")[0])
    assert "own-made" in found["text"]
    assert "pixel-statistics" in found["text"]


def an_index_answers(folder):
    """Whether pip gets another NumPy within seconds; it downloads one small package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0"]
    command += ["--timeout", "5", "--dest", str(folder), "--only-binary", ":all:", "numpy==1.26.4"]
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.mark.long
def test_another_numpy_major_version_evaluates_beside_ours(tmp_path):
    if np.__version__.startswith("1.") or sys.version_info >= (3, 13):
        pytest.skip("needs NumPy 2 here, and a Python that NumPy 1.26 has wheels for")
    if not an_index_answers(tmp_path / "download"):
        pytest.skip("no package index is reachable within seconds")
    outsider(tmp_path, "old-numpy", ("numpy==1.26.4",))
    cache = str(tmp_path / "cache")
    done = zoo(tmp_path, "env", "create", "old-numpy", "--quiet", ZOO_CACHE=cache)
    assert re.search(r"is made: Python \S+, \d packages", done.stdout), done.stderr
    done = python(tmp_path, COMPARE, "old-numpy", "pixel-statistics", ZOO_CACHE=cache)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["major"], found["numpy"]) == (1, "1.26.4")
    assert "old-numpy" in found["text"]
    assert "pixel-statistics" in found["text"]
    done = zoo(tmp_path, "env", "remove", "old-numpy", ZOO_CACHE=cache)
    assert done.returncode == 0, done.stderr
    done = zoo(tmp_path, "info", "old-numpy", ZOO_CACHE=cache)
    assert "numpy==1.26.4" in done.stdout
