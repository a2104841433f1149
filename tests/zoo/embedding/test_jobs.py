"""Jobs that are stopped, killed, shared and disturbed end with the table of an undisturbed one."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile

import zoo
from zoo import errors
from zoo._embedding import job_folder, shards
from zoo._embedding.claims import Claims
from zoo._embedding.job import run_job

SUPPORT = Path(__file__).parents[2] / "support"
ITEMS, SIZE = 22, 4


def images(folder, items=ITEMS, side=16):
    """A table of small images of two stains on two plates, and its folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(items):
        tifffile.imwrite(
            folder / f"{i:03d}.tif",
            rng.integers(0, 4096, (2, side, side), dtype=np.uint16),
            photometric="minisblack",
        )
        plate, well = f"{i % 2:03d}", f"a{i // 2 + 1}"
        rows.append((f"{i:03d}.tif", "DNA|ER", plate, well, i / 4, None if i % 3 else "DMSO"))
    columns = ["image", "stains", "Metadata_Plate", "well", "dose", "compound"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture
def folder(tmp_path):
    return images(tmp_path / "images")


@pytest.fixture(scope="module")
def encoder():
    return zoo.load("pixel-statistics", device="cpu")


def job(folder, encoder, out, **options):
    return run_job(zoo.open_images(folder), encoder, out, **{"shard_size": SIZE, **options})


def parts(out):
    return sorted(p.name for p in (out / "parts").iterdir())


def content(out):
    """Bytes of all files but the claims."""
    return {
        p.relative_to(out).as_posix(): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file() and p.name != job_folder.CLAIMS
    }


def test_a_job_gives_the_rows_of_a_table(folder, encoder, tmp_path):
    made = job(folder, encoder, tmp_path / "job")
    assert (made.computed, made.left_out, made.missing) == (ITEMS, (), 0)
    assert parts(tmp_path / "job") == [f"{k:05d}.parquet" for k in range(6)]
    found = zoo.read_profiles(tmp_path / "job")
    direct = zoo.embed(folder, encoder, cache=False)
    assert found.matrix.tolist() == direct.matrix.tolist()
    metadata = found.metadata
    assert metadata["image"].tolist() == direct.metadata["image"].tolist()
    assert metadata["Plate"].tolist() == [f"{i % 2:03d}" for i in range(ITEMS)]
    assert metadata["Well"].tolist() == [f"A{i // 2 + 1:02d}" for i in range(ITEMS)]
    assert metadata["dose"].tolist() == [i / 4 for i in range(ITEMS)]
    assert metadata["compound"].isna().tolist() == [bool(i % 3) for i in range(ITEMS)]
    record = json.loads((tmp_path / "job/job.json").read_text())
    assert set(metadata["zoo_run"]) == {record["run"]}
    assert found.provenance["encoder"] == "pixel-statistics"
    assert record["key"]["preprocessing"] == found.provenance["preprocessing"]
    assert len(found.provenance["sha256"]) == 64


def test_other_tools_read_the_parts_as_one_table(folder, encoder, tmp_path):
    job(folder, encoder, tmp_path / "job")
    table = pq.read_table(tmp_path / "job/parts")
    features = zoo.feature_columns(tmp_path / "job")
    assert len(table) == ITEMS
    assert set(features) < set(table.column_names)
    assert {c for c in table.column_names if c not in features} == {
        *("Metadata_image", "Metadata_stains", "Metadata_Plate", "Metadata_Well"),
        *("Metadata_dose", "Metadata_compound", "Metadata_channel_count", "Metadata_zoo_run"),
    }
    assert str(table.schema.field("Metadata_compound").type) == "string"
    zoo.read_profiles(tmp_path / "job").write(tmp_path / "all.parquet")
    assert zoo.feature_columns(tmp_path / "all.parquet") == features


def test_only_missing_shards_are_computed(folder, encoder, tmp_path):
    out = tmp_path / "job"
    job(folder, encoder, out)
    before = content(out)
    assert job(folder, encoder, out).computed == 0
    for k in (1, 5):
        (out / f"parts/{k:05d}.parquet").unlink()
    with pytest.raises(errors.DataError, match=r"2 of 6 shards are missing"):
        zoo.read_profiles(out)
    with pytest.raises(errors.DataError, match=r"2 of 6 shards are missing"):
        zoo.feature_columns(out)
    assert job(folder, encoder, out).computed == 4 + 2
    assert content(out) == before


def run_script(*arguments, **options):
    command = [sys.executable, "-P", *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, **options)


@pytest.mark.slow
def test_killed_at_any_instant_it_ends_as_undisturbed(encoder, tmp_path):
    folder = images(tmp_path / "images", 60)
    (folder / "007.tif").write_bytes(b"broken")
    script = SUPPORT / "killed_jobs.py"
    job(folder, encoder, tmp_path / "calm")
    with run_script(script, folder, tmp_path / "killed", 20, 0) as process:
        told = process.communicate(timeout=300)[0]
    assert (process.returncode, told.split()) == (0, ["20"])
    assert content(tmp_path / "killed") == content(tmp_path / "calm")


@pytest.mark.slow
def test_two_processes_share_the_work(encoder, tmp_path):
    folder = images(tmp_path / "images", 60)
    job(folder, encoder, tmp_path / "calm")
    script = SUPPORT / "killed_jobs.py"
    both = [run_script(script, folder, tmp_path / "shared", kills, kills) for kills in (0, 3)]
    for process in both:
        process.communicate(timeout=300)
        assert process.returncode == 0
    assert content(tmp_path / "shared") == content(tmp_path / "calm")


def test_a_shard_of_another_process_is_left_and_waited_for(folder, encoder, tmp_path):
    out = tmp_path / "job"
    out.mkdir()
    # It claims two shards, computes neither, and ends: the job waits for that, and does them.
    script = tmp_path / "claims.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from zoo._embedding.claims import Claims\n"
        "claims = Claims(Path(sys.argv[1]))\n"
        "print([claims.take(k) for k in (0, 3)], flush=True)\n"
        "sys.stdin.read()\n"
    )
    job(folder, encoder, out, share=(0, 99))
    (out / "parts/00000.parquet").unlink()
    other = run_script(script, out / job_folder.CLAIMS, stdin=subprocess.PIPE)
    assert other.stdout.readline() == "[True, True]\n"
    own = Claims(out / job_folder.CLAIMS)
    assert [own.take(k) for k in range(4)] == [False, True, True, False]
    own.close()
    timer = threading.Timer(0.5, other.kill)
    timer.start()
    done = []
    made = job(folder, encoder, out, progress=lambda _what, n, _total: done.append(n))
    assert (made.computed, made.missing) == (ITEMS, 0)
    assert done == sorted(done)
    other.communicate(timeout=60)


def test_without_locks_work_is_done_twice_and_nothing_else(folder, encoder, tmp_path, monkeypatch):
    def refused(*_arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refused)
    assert job(folder, encoder, tmp_path / "job").missing == 0


def test_bad_items_are_left_out_with_the_reason(folder, encoder, tmp_path):
    for i in (4, 5, 6, 7, 9):
        (folder / f"{i:03d}.tif").write_bytes(b"broken")
    (folder / "021.tif").unlink()
    out = tmp_path / "job"
    made = job(folder, encoder, out)
    assert [item for item, _ in made.left_out] == [f"{i:03d}.tif" for i in (4, 5, 6, 7, 9, 21)]
    assert all("cannot be read" in reason for _, reason in made.left_out[:5])
    failures = [pd.read_csv(p) for p in sorted((out / "failures").iterdir())]
    assert pd.concat(failures)["item"].tolist() == [item for item, _ in made.left_out]
    # The shard of which nothing could be used left an empty part, with the metadata of the others.
    empty, full = (pq.read_table(out / f"parts/{k:05d}.parquet") for k in (1, 0))
    assert len(empty) == 0
    assert [f for f in full.schema if f.name.startswith("Metadata_")] == list(empty.schema)
    found = zoo.read_profiles(out)
    assert len(found) == ITEMS - 6
    assert found.failures == made.left_out
    # A second run tells them again, and computes nothing.
    again = job(folder, encoder, out)
    assert (again.computed, again.left_out) == (0, made.left_out)


def test_a_job_of_bad_items_only_has_no_rows(folder, encoder, tmp_path):
    for path in folder.glob("*.tif"):
        path.write_bytes(b"")
    assert len(job(folder, encoder, tmp_path / "job").left_out) == ITEMS
    with pytest.raises(errors.DataError, match="has no rows: each of its 22 items was left out"):
        zoo.read_profiles(tmp_path / "job")


def test_a_file_that_changed_after_the_plan_is_left_out(folder, encoder, tmp_path):
    out = tmp_path / "job"
    job(folder, encoder, out, share=(0, 2))
    tifffile.imwrite(folder / "005.tif", np.ones((2, 16, 16), np.uint16))
    os.utime(folder / "006.tif", ns=(0, 0))
    (folder / "000.tif").unlink()  # its shard is done
    made = job(folder, encoder, out)
    assert [item for item, _ in made.left_out] == ["005.tif", "006.tif"]
    for _, reason in made.left_out:
        assert "was changed after the job was planned" in reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("encoder", r"encoder was pixel-statistics and is texture"),
        ("size", r"shard_size was 4 and is 5"),
        ("reading", r"reading.z was None and is max"),
        ("items", r"items was 22 and is 23"),
        ("metadata", r"manifest was "),
    ],
)
def test_another_job_in_the_folder_is_refused(folder, encoder, tmp_path, change, said):
    out, options = tmp_path / "job", {"reading": {"z": None}}
    job(folder, encoder, out, share=(0, 9), **options)
    table = pd.read_csv(folder / "labels.csv", dtype=str)
    if change == "encoder":
        encoder = zoo.load("texture", device="cpu")
    elif change == "size":
        options["shard_size"] = 5
    elif change == "reading":
        options["reading"] = {"z": "max"}
    elif change == "items":
        pd.concat([table, table[:1]]).to_csv(folder / "labels.csv", index=False)
    else:
        table.assign(compound="x").to_csv(folder / "labels.csv", index=False)
    with pytest.raises(errors.DataError, match=f"other settings: .*{said}"):
        job(folder, encoder, out, **options)


def test_folders_of_something_else_are_refused(folder, encoder, tmp_path):
    with pytest.raises(errors.DataError, match="holds files, but no job"):
        job(folder, encoder, folder)
    with pytest.raises(errors.DataError, match=r"as a folder it has no job.json"):
        zoo.read_profiles(folder)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/job.json").write_text("{")
    with pytest.raises(errors.DataError, match="not the record of a job"):
        job(folder, encoder, tmp_path / "broken")


def test_a_full_disk_is_told_and_loses_nothing(folder, encoder, tmp_path, monkeypatch):
    out = tmp_path / "job"
    job(folder, encoder, tmp_path / "calm")

    def full(table, path):
        if "00002" in path.name:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path)

    write = pq.write_table
    with monkeypatch.context() as patched:
        patched.setattr(pq, "write_table", full)
        with pytest.raises(errors.DataError, match=r"00002.parquet .*No space left.*make room"):
            job(folder, encoder, out)
    assert parts(out) == ["00000.parquet", "00001.parquet"]
    job(folder, encoder, out)
    assert content(out) == content(tmp_path / "calm")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_job_says_how_to_go_on(folder, encoder, tmp_path, monkeypatch, number):
    out = tmp_path / "job"
    before = signal.getsignal(signal.SIGTERM)

    def stop(_what, done, _total):
        if done > 2 * SIZE:
            signal.raise_signal(number)

    with pytest.raises(errors.StoppedError, match=r"stopped: 2 of 6 shards .* start the same"):
        job(folder, encoder, out, progress=stop)
    assert signal.getsignal(signal.SIGTERM) is before
    assert job(folder, encoder, out).computed == ITEMS - 2 * SIZE


def test_memory_that_runs_out_is_told(folder, encoder, tmp_path, monkeypatch):
    def out_of_memory(*_arguments, **_options):
        raise MemoryError

    monkeypatch.setattr(shards, "embed_many", out_of_memory)
    with pytest.raises(errors.DataError, match=r"memory ran out: 0 of 6 shards"):
        job(folder, encoder, tmp_path / "job")


def test_without_pyarrow_the_line_to_install_is_told(folder, encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(errors.MissingExtraError, match=r'pip install "microscopy-zoo\[parquet\]"'):
        job(folder, encoder, tmp_path / "job")
    assert not (tmp_path / "job").exists()


def test_ranks_do_each_shard_once(folder, encoder, tmp_path):
    out = tmp_path / "job"
    seen = []
    for rank in range(4):
        before = set(parts(out)) if seen else set()
        made = job(folder, encoder, out, share=(rank, 4))
        seen.append(sorted(set(parts(out)) - before))
        assert made.missing == 6 - len(parts(out))
    numbers = [[int(name[:5]) for name in names] for names in seen]
    assert numbers == [[0, 4], [1, 5], [2], [3]]
    assert len(zoo.read_profiles(out)) == ITEMS


def test_embeddings_of_several_sizes_are_refused(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(8):
        shape = (1 + i // 4, 16, 16)
        tifffile.imwrite(folder / f"{i}.tif", np.ones(shape, np.uint16), photometric="minisblack")
    table = pd.DataFrame({"image": [f"{i}.tif" for i in range(8)]})
    table.to_csv(folder / "labels.csv", index=False)
    joining = zoo.load("pixel-statistics", device="cpu")
    if not joining.requires_equal_channels:
        pytest.skip("pixel-statistics averages channels")
    with pytest.raises(errors.DataError, match="differ in their number of channels"):
        job(folder, joining, tmp_path / "job")


def sources(folder):
    """Sources of each kind of local reader, with a file of the second image."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{well}_{stain}.tif" for well in ("A01", "A02") for stain in ("DNA", "ER")]
    for name in names:
        tifffile.imwrite(folder / name, rng.integers(0, 99, (16, 16), dtype=np.uint16))
    pairs = [names[:2], names[2:]]
    pd.DataFrame(pairs, columns=["image_DNA", "image_ER"]).to_csv(folder / "a.csv", index=False)
    pd.DataFrame({"image": ["|".join(p) for p in pairs]}).to_csv(folder / "b.csv", index=False)
    columns = ["FileName_OrigDNA", "FileName_OrigER"]
    pd.DataFrame(pairs, columns=columns).to_csv(folder / "c.csv", index=False)
    yield zoo.open_images(folder / "a.csv"), "A02_ER.tif"
    yield zoo.open_images(folder / "a.csv", stains={"ER": "RNA"}), "A02_ER.tif"
    yield zoo.open_images(folder / "b.csv", paths={"/old": "/new"}), "A02_DNA.tif"
    yield zoo.open_images(folder / "c.csv"), "A02_ER.tif"
    yield zoo.open_images(folder, pattern="{well}_{channel}.tif"), "A02_DNA.tif"
    yield zoo.open_images([folder / names[0], folder / names[3]]), "A02_ER.tif"
    np.save(folder / "d.npy", np.ones((2, 1, 16, 16), np.uint8))
    yield zoo.open_images(folder / "d.npy"), "d.npy"


def test_each_source_knows_its_files(encoder, tmp_path):
    for k, (dataset, name) in enumerate(sources(tmp_path / "images")):
        out = tmp_path / f"job{k}"
        run_job(dataset, encoder, out, shard_size=1, share=(0, 2))
        os.utime(tmp_path / "images" / name, ns=(k, k))
        made = run_job(dataset, encoder, out, shard_size=1)
        assert [name in reason for _, reason in made.left_out] == [True], (k, made.left_out)
        assert "was changed after the job was planned" in made.left_out[0][1]
