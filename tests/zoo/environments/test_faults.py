"""What goes wrong in an environment of its own: one sentence, no process left, and it goes on."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from zoo import errors, plugin
from zoo._environments import making

from .conftest import is_running

GIVEN = [np.full((2, 32, 32), 7, np.uint8)]
FAULTS = {
    "raises": "raised IndexError: list index out of range",
    "exits": "raised SystemExit: 3",
    "ends": "ended (exit status 7)",
    "killed": "ended (SIGKILL, as when memory is full)",
    "aborts": "ended (SIGABRT)",
    "hangs": "did not answer within 3 seconds and was ended: give fewer planes at once",
    "rows": "it returned an array (2, 2) of float64, not one row of numbers for each of 1 images",
    "flat": "it returned an array (1,) of float64, not one row",
    "texts": "not one row of numbers",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_and_the_next_call_works(in_environment, tmp_path, fault):
    options = {"fault": fault, "once": str(tmp_path / "once")}
    encoder = plugin.build(in_environment("faulty", limit=3.0, options=options))
    with pytest.raises(errors.PluginError) as caught:
        encoder.encode(GIVEN)
    said = str(caught.value)
    assert said.startswith("'own-faulty', in its own environment, ")
    assert FAULTS[fault] in said.splitlines()[0]
    assert "the last words" in said
    assert encoder._worker is not None
    assert not is_running(encoder._worker._process.pid)
    assert encoder.encode(GIVEN).embedding.shape == (1, 2)


def test_a_full_memory_makes_batches_smaller(in_environment, tmp_path):
    options = {"fault": "memory", "once": str(tmp_path / "once")}
    encoder = plugin.build(in_environment("faulty", options=options))
    with pytest.warns(UserWarning, match="out of memory with 4 planes"):
        found = encoder.encode(GIVEN * 2)
    assert found.embedding.shape == (2, 2)


def test_columns_other_than_the_record_says(in_environment, tmp_path):
    options = {"fault": "columns", "once": str(tmp_path / "once")}
    encoder = plugin.build(in_environment("faulty", options=options, embedding_size=2))
    with pytest.raises(errors.PluginError, match="returned 3 columns, but its record says 2"):
        encoder.encode(GIVEN)


@pytest.mark.parametrize(
    ("builder", "words"),
    [
        ("needy", "requirements lack no_such_module"),
        ("uses_zoo", "the environment has no zoo, so the builder's module must not import it"),
        ("no_function", "returned 5, but must return a function of a batch"),
        ("raising", "raised RuntimeError: no licence file"),
        ("absent", "has no attribute 'absent'"),
    ],
)
def test_a_builder_that_fails_is_told_when_it_is_loaded(in_environment, builder, words):
    encoder = plugin.build(in_environment(builder))
    with pytest.raises(errors.PluginError) as caught:
        encoder.to("cpu")
    assert words in str(caught.value).splitlines()[0]


def test_a_worker_killed_between_calls(in_environment):
    encoder = plugin.build(in_environment())
    encoder.encode(GIVEN)
    process = encoder._worker._process
    process.kill()
    process.wait()
    with pytest.raises(errors.PluginError, match=r"ended \(SIGKILL"):
        encoder.encode(GIVEN)
    assert len(encoder.encode(GIVEN)) == 1


def test_the_worker_ends_with_its_encoder(in_environment):
    encoder = plugin.build(in_environment())
    encoder.encode(GIVEN)
    pid = encoder._worker._process.pid
    assert is_running(pid)
    del encoder
    assert not is_running(pid)


CHILD = """
import sys, time
import numpy as np
from zoo import plugin
environment = plugin.Environment(requirements={requirements!r})
spec = plugin.EncoderSpec(
    name="x", builder="plugin_in_environment:{builder}", summary="s", environment=environment,
    options={options!r},
)
encoder = plugin.build(spec).to("cpu")
print(encoder._worker._process.pid, flush=True)
try:
    encoder.encode([np.zeros((1, 32, 32), np.uint8)])
    time.sleep(100)
except KeyboardInterrupt:
    print("interrupted", encoder._worker.alive, flush=True)
"""


@pytest.fixture
def child(in_environment, tmp_path):
    """A process of its own group with an encoder whose worker hangs, and the worker's number."""
    options = {"fault": "hangs", "once": str(tmp_path / "once")}
    spec = in_environment("faulty", options=options)
    code = CHILD.format(
        requirements=spec.environment.requirements, builder="faulty", options=options
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    worker = int(process.stdout.readline())
    while not (tmp_path / "once").exists():
        time.sleep(0.05)
    yield process, worker
    process.kill()
    process.communicate()


def ends(worker):
    """Wait for the end of a process; the time limit of a test is all that bounds it."""
    while is_running(worker):
        time.sleep(0.05)
    return True


def test_the_worker_dies_with_a_killed_parent(child):
    process, worker = child
    assert is_running(worker)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ends(worker)


def test_ctrl_c_ends_the_call_and_the_worker(child):
    process, worker = child
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said, _ = process.communicate(timeout=60)
    assert said.strip() == "interrupted False"
    assert not is_running(worker)


# Environments that are not there


def test_loading_before_it_is_made_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    environment = plugin.Environment(requirements=("numpy",))
    spec = plugin.EncoderSpec(name="x", builder="m:f", summary="s", environment=environment)
    with pytest.raises(errors.MissingExtraError, match="not made yet: run 'zoo env create x'"):
        plugin.build(spec)
    assert not list(tmp_path.iterdir())  # nothing is installed silently
    folder = making.folder_of(environment)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    with pytest.raises(errors.MissingExtraError, match=r"being made: run 'zoo env create x'"):
        plugin.build(spec)
    (folder / "environment.json").write_text('{"requirements": [')
    assert making.find(folder) is None


@pytest.mark.slow
def test_requirements_that_cannot_be_installed(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    lines = ("--no-index", f"--find-links {wheels}", "clashing==9.9")
    info = tmp_path / "path" / "clashing-9.9.dist-info"  # which must not be taken for installed
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clashing\nVersion: 9.9\n")
    monkeypatch.setenv("PYTHONPATH", str(info.parent))
    environment = plugin.Environment(requirements=lines)
    making.folder_of(environment).mkdir(parents=True)  # half made by another process
    with pytest.raises(errors.PluginError) as caught:
        making.create(environment)
    assert "pip cannot install" in str(caught.value)
    assert "No matching distribution found for clashing==9.9" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert making.find(making.folder_of(environment)) is None
    assert not making.folder_of(environment).exists()


@pytest.mark.slow
def test_an_environment_without_numpy_is_refused(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    lines = ("--no-index", f"--find-links {wheels}", "clashing==1.0")
    with pytest.raises(errors.PluginError, match="has no NumPy that can be imported: add it to"):
        making.create(plugin.Environment(requirements=lines))
    assert not making.folder_of(plugin.Environment(requirements=lines)).exists()


def test_an_interpreter_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    environment = plugin.Environment(requirements=("numpy",))
    with pytest.raises(errors.PluginError, match="cannot be made with venv"):
        making.create(environment, python=str(tmp_path / "python"))


def test_one_that_is_there_is_not_made_again(made, requirements, cache, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(cache))
    before = (made.folder / "environment.json").stat().st_mtime_ns
    found, now = making.create(plugin.Environment(requirements=requirements))
    assert (found, now) == (made, False)
    assert (made.folder / "environment.json").stat().st_mtime_ns == before
