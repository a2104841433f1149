"""Ray computes a job, in an environment that has it: an actor is killed, and the driver."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import other_tools
import pytest
from job_images import copy_images, write_images

import zoo
from zoo._embedding.job import run_job

pytestmark = pytest.mark.long
ITEMS, SIZE = 60, 4
SUPPORT = Path(__file__).parents[2] / "support"

DRIVER = """
import json, os, signal, sys, time
from pathlib import Path
import zoo
from zoo._embedding.job import run_job
sys.path.append(SUPPORT)
from job_images import slow

source, out, kill, workers = sys.argv[1:]

def actors():
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if file.read_bytes().startswith(b"ray::Actor"):
                found.append(int(file.parent.name))
        except OSError:
            pass
    return found

seen, killed = set(), []

def progress(what, done, total):
    seen.update(actors())
    print(done, flush=True)
    if kill == "actor" and not killed:
        killed.append(sorted(seen)[0])
        os.kill(killed[0], signal.SIGKILL)

encoder = zoo.load("pixel-statistics", device="cpu")
try:
    made = run_job(
        slow(zoo.open_images(source)), encoder, Path(out), shard_size=SIZE, engine="ray",
        workers=int(workers),
        progress=progress,
    )
    result = {"computed": made.computed, "left_out": len(made.left_out), "missing": made.missing}
except zoo.ZooError as error:
    result = {"error": str(error)}
print(json.dumps({**result, "actors": len(seen), "killed": len(killed)}), flush=True)
"""
DRIVER = DRIVER.replace("SIZE", str(SIZE)).replace("SUPPORT", repr(str(SUPPORT)))


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    wanted = ("ray>=2.51",)
    found = other_tools.python_of(
        tmp_path_factory.mktemp("ray"), wanted, given="ZOO_TEST_RAY", borrow=True
    )
    if found is None:
        pytest.skip("Ray cannot be installed here")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, ITEMS)
    (folder / "007.tif").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    """What one process writes, without Ray."""
    out = tmp_path_factory.mktemp("alone")
    encoder = zoo.load("pixel-statistics", device="cpu")
    run_job(zoo.open_images(folder), encoder, out, shard_size=SIZE)
    return content(out)


def content(out):
    return {
        p.relative_to(out).as_posix(): p.read_bytes()
        for p in sorted([*out.glob("parts/*"), *out.glob("failures/*")])
    }


def start(python, folder, out, kill="", workers=2):
    command = [python, "-P", "-W", "ignore", "-c", DRIVER, folder, out, kill, workers]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


def finish(process):
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    return json.loads(printed.splitlines()[-1])


def test_an_actor_is_killed_and_the_job_goes_on(python, folder, alone, tmp_path):
    result = finish(start(python, folder, tmp_path / "job", "actor"))
    assert result.pop("actors") > 2  # a new one for the killed one
    assert result == {"computed": ITEMS, "left_out": 1, "missing": 0, "killed": 1}
    assert content(tmp_path / "job") == alone
    assert not list((tmp_path / "job").glob(".workers*"))


def test_the_driver_is_killed_and_a_second_run_computes_what_is_missing(
    python, folder, alone, tmp_path
):
    process = start(python, folder, tmp_path / "job")
    for line in process.stdout:
        if int(line) >= 3 * SIZE:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    done = len(list((tmp_path / "job/parts").glob("[0-9]*")))
    assert 3 <= done < ITEMS // SIZE
    time.sleep(5)  # until Ray has noticed
    done = len(list((tmp_path / "job/parts").glob("[0-9]*")))
    result = finish(start(python, folder, tmp_path / "job"))
    assert result["computed"] == ITEMS - SIZE * done
    assert content(tmp_path / "job") == alone
    assert not list((tmp_path / "job").glob(".workers*"))


def test_workers_for_which_there_is_no_core_get_no_work(python, folder, alone, tmp_path):
    workers = len(os.sched_getaffinity(0)) + 2
    result = finish(start(python, folder, tmp_path / "job", workers=workers))
    assert result["computed"] == ITEMS
    assert result["actors"] < workers
    assert content(tmp_path / "job") == alone


def test_a_stop_says_how_far_the_job_is(python, folder, tmp_path):
    process = start(python, folder, tmp_path / "job")
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert re.match(r"stopped: \d+ of 15 shards .* are done", result["error"])


def test_what_an_actor_raises_is_one_sentence(python, folder, tmp_path):
    copy_images(sorted(folder.iterdir())[8:], tmp_path / "images", three_from=7 * SIZE)
    result = finish(start(python, tmp_path / "images", tmp_path / "job"))
    assert "the images differ in their number of channels" in result["error"]
