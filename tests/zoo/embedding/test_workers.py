"""Several processes of one machine compute a job, and some of them are killed."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from job_images import copy_images, slow, write_images

import zoo
from zoo import errors
from zoo._cli import main
from zoo._embedding import computing
from zoo._embedding.job import run_job
from zoo._embedding.job_folder import JobFolder

SUPPORT = Path(__file__).parents[2] / "support"
ITEMS, SIZE = 48, 4
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, ITEMS)
    return folder


@pytest.fixture(scope="module")
def encoder():
    return zoo.load("pixel-statistics", device="cpu")


@pytest.fixture(scope="module")
def alone(folder, encoder, tmp_path_factory):
    """What one process writes."""
    out = tmp_path_factory.mktemp("alone")
    run_job(zoo.open_images(folder), encoder, out, shard_size=SIZE)
    return content(out)


def content(out):
    return {p.name: p.read_bytes() for p in sorted((out / "parts").iterdir())}


def job(folder, encoder, out, **options):
    return run_job(zoo.open_images(folder), encoder, out, shard_size=SIZE, workers=2, **options)


def children():
    lists = Path("/proc/self/task").glob("*/children")
    pids = [int(pid) for file in lists for pid in file.read_text().split()]
    return [p for p in pids if b"engines.child" in Path(f"/proc/{p}/cmdline").read_bytes()]


def test_workers_write_what_one_process_writes(folder, encoder, alone, tmp_path):
    told = []
    made = job(folder, encoder, tmp_path / "job", progress=lambda *said: told.append(said))
    assert content(tmp_path / "job") == alone
    assert (made.computed, made.missing, made.left_out) == (ITEMS, 0, ())
    done = [done for _, done, _ in told]
    assert done[-1] == ITEMS
    assert {total for *_, total in told} == {ITEMS}
    assert job(folder, encoder, tmp_path / "job").computed == 0


def test_others_compute_the_shards_of_a_killed_worker(folder, encoder, alone, tmp_path, caplog):
    killed, told = [], []

    def kill_one(_what, done, _total):
        told.append(done)
        if not killed:
            killed.append(children()[0])
            os.kill(killed[0], signal.SIGKILL)

    dataset = slow(zoo.open_images(folder))
    with caplog.at_level(logging.WARNING, "zoo"):
        made = run_job(
            dataset, encoder, tmp_path / "job", shard_size=SIZE, workers=2, progress=kill_one
        )
    assert content(tmp_path / "job") == alone
    assert (made.missing, told[-1]) == (0, ITEMS)
    wanted = r"worker \d of 2 was killed \(SIGKILL, as when memory runs out\); the others"
    assert re.search(wanted, caplog.text)


@pytest.mark.long
def test_without_a_worker_left_the_job_says_so_and_goes_on_later(folder, encoder, alone, tmp_path):
    def kill_all(*_):
        for pid in children():
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(
        errors.DataError, match=r"worker 1 of 2 was killed .*; worker 2 .* start the same command"
    ):
        run_job(
            slow(zoo.open_images(folder)),
            encoder,
            tmp_path / "job",
            shard_size=SIZE,
            workers=2,
            progress=kill_all,
        )
    job(folder, encoder, tmp_path / "job")
    assert content(tmp_path / "job") == alone


def test_what_a_worker_raises_ends_the_job(folder, tmp_path):
    encoder = zoo.load("pixel-statistics", device="cpu")  # its dimensions go with the channels
    copy = tmp_path / "images"
    copy_images(sorted(folder.iterdir()), copy, three_from=ITEMS // 2)
    with pytest.raises(errors.DataError, match="the images differ in their number of channels"):
        job(copy, encoder, tmp_path / "job")
    assert children() == []


def test_parts_of_workers_that_began_side_by_side_are_compared(
    folder, encoder, tmp_path, monkeypatch
):
    job(folder, encoder, tmp_path / "job")
    monkeypatch.setattr(JobFolder, "widths", lambda _: iter([4, 4, 6]))
    next((tmp_path / "job/parts").iterdir()).unlink()
    monkeypatch.setattr("zoo._embedding.job.compute_locally", lambda *_, **__: None)
    with pytest.raises(errors.DataError, match=r"gives 6 numbers .* one shard and 4 for those"):
        job(folder, encoder, tmp_path / "job")


def test_a_job_that_goes_on_knows_the_dimensions_of_what_is_done(folder, tmp_path, monkeypatch):
    few, more = (zoo.load(name, device="cpu") for name in ("pixel-statistics-mean", "texture"))
    run_job(zoo.open_images(folder), few, tmp_path / "job", shard_size=SIZE, share=(0, 2))
    monkeypatch.setattr("zoo._embedding.job.key_of", lambda *_: key)
    record = json.loads((tmp_path / "job/job.json").read_text())["key"]
    key = {k: v for k, v in record.items() if k != "shard_size"}
    with pytest.raises(errors.DataError, match=r"gives .* numbers for the images of one shard"):
        run_job(zoo.open_images(folder), more, tmp_path / "job", shard_size=SIZE)


@pytest.fixture
def driver(folder, tmp_path):
    """A process that runs the job with two workers, once it has begun, and its workers."""
    code = (
        f"import sys; sys.path.append({str(SUPPORT)!r})\n"
        "import zoo; from pathlib import Path; from zoo._embedding.job import run_job\n"
        "from job_images import slow\n"
        "encoder = zoo.load('pixel-statistics', device='cpu')\n"
        "try:\n"
        f"    dataset = slow(zoo.open_images({str(folder)!r}))\n"
        f"    out = Path({str(tmp_path / 'job')!r})\n"
        f"    run_job(dataset, encoder, out, shard_size={SIZE}, workers=2,"
        " progress=lambda *_: print('begun', flush=True))\n"
        "except zoo.ZooError as error:\n"
        "    print(error, flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    lists = Path(f"/proc/{process.pid}/task").glob("*/children")
    yield process, [int(pid) for file in lists for pid in file.read_text().split()]
    process.kill()
    process.wait()
    process.stdout.close()


def gone(pids, seconds=20):
    def is_there(pid):
        try:
            return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
        except OSError:
            return False

    ends = time.monotonic() + seconds
    while any(map(is_there, pids)) and time.monotonic() < ends:
        time.sleep(0.05)
    return not any(map(is_there, pids))


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(
    driver, how, folder, encoder, alone, tmp_path
):
    process, workers = driver
    process.send_signal(how)
    rest = process.stdout.read()
    process.wait(30)
    assert gone(workers)
    if how != signal.SIGKILL:
        assert "stopped: " in rest
    job(folder, encoder, tmp_path / "job")
    assert content(tmp_path / "job") == alone


def test_the_command(folder, encoder, tmp_path):
    out = tmp_path / "job"
    arguments = ["embed", folder, "-e", "pixel-statistics", "-o"]

    def run(*more):
        return CliRunner().invoke(main, [str(a) for a in (*arguments, *more)])

    done = run(out, "--shard-size", SIZE, "--workers", 2)
    assert done.exit_code == 0, done.output
    assert f"{ITEMS} images in" in done.output
    assert "12 of 12 shards are done" in done.output
    found = zoo.read_profiles(out)
    assert found.matrix.tolist() == zoo.embed(folder, encoder, cache=False).matrix.tolist()
    for option in (("--workers", 2), ("--engine", "ray")):
        refused = run(tmp_path / "table.parquet", *option)
        assert refused.exit_code == 2
        assert f"{option[0]} needs a folder as --out" in refused.output


def test_ray_is_asked_for_by_name(folder, encoder, tmp_path):
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(errors.MissingExtraError, match=r"pip install 'microscopy-zoo\[ray\]'"):
            job(folder, encoder, tmp_path / "job", engine="ray")
    else:
        pytest.skip("Ray is here")


def test_what_cannot_be_pickled_is_said(folder, encoder, tmp_path):
    dataset = zoo.open_images(folder)
    own = replace(dataset, read=lambda place: dataset.read(place))
    with pytest.raises(errors.DataError, match=r"cannot be sent to other processes .*--workers"):
        run_job(own, encoder, tmp_path / "job", shard_size=SIZE, workers=2)


def test_a_shard_that_two_reports_name_counts_once(folder, encoder, tmp_path):
    out = tmp_path / "job"
    made = run_job(zoo.open_images(folder), encoder, out, shard_size=SIZE)
    for path in (out / "parts").iterdir():
        path.unlink()
    told = []
    pace = computing.Pace("it", made.folder, range(3), lambda *said: told.append(said[1:]))
    pace.begun(2, 0)
    pace.found(1)
    pace.made(1, 1)
    pace.made(0, 0)
    assert told == [(2, 12), (6, 12), (8, 12)]
    assert pace.computed == 8
