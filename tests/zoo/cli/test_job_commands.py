"""Jobs on the command line: embed to a folder, evaluate it, aggregate it."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner

import zoo
from zoo._cli import main


def run(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "120"}).invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        pixels = rng.integers(0, 2000 + 1000 * (i % 2), (1, 16, 16), dtype=np.uint16)
        tifffile.imwrite(folder / f"{i}.tif", pixels, photometric="minisblack")
        rows.append((f"{i}.tif", f"P{i // 8}", f"A{i // 2 + 1:02d}", "ab"[i % 2]))
    columns = ["image", "Metadata_Plate", "Metadata_Well", "label"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "labels.csv", index=False)
    return folder


def embed(folder, out, *more, code=0):
    return run("embed", folder, "-e", "pixel-statistics", "-o", out, *more, code=code)


def test_a_job_is_run_gone_on_with_and_read(folder, tmp_path):
    out = tmp_path / "job"
    said = embed(folder, out, "--shard-size", 10, "--shard", "0/2").output
    assert "20 items" not in said
    assert "14 images" in said
    assert "2 of 3 shards are done" in said
    assert "1 shards are missing: they belong to other --shard" in said
    message = run("evaluate", out, "--label", "label", "--group", "Plate", code=1).output
    assert "1 of 3 shards are missing" in message
    said = embed(folder, out, "--shard-size", 10).output
    assert "10 images" in said
    assert "3 of 3 shards are done" in said
    assert embed(folder, out, "--shard-size", 10).output.count("0 images") == 1
    report = tmp_path / "report"
    run("evaluate", out, "--label", "label", "--group", "Plate", "--out", report)
    assert list(report.glob("*.html"))


def test_left_out_items_make_the_exit_status_1(folder, tmp_path):
    (folder / "3.tif").write_bytes(b"broken")
    said = embed(folder, tmp_path / "job", code=1).output
    assert "left out 3.tif: " in said
    assert "1 items are left out" in said
    assert len(zoo.read_profiles(tmp_path / "job")) == 23


def test_other_options_are_another_job(folder, tmp_path):
    embed(folder, tmp_path / "job")
    said = embed(folder, tmp_path / "job", "--scaling", "range", code=1).output
    assert "other settings" in said
    assert "preprocessing was" in said
    said = embed(folder, tmp_path / "job", "--z", "max", code=1).output
    assert "reading.z was None and is max" in said
    # Where files are now does not matter.
    embed(folder, tmp_path / "job", "--path", "/old=/new")


@pytest.mark.parametrize("share", ["2", "2/2", "a/b", "-1/2", "1/0"])
def test_shares_that_are_none_are_refused(folder, tmp_path, share):
    said = embed(folder, tmp_path / "job", "--shard", share, code=2).output
    assert "is not RANK/WORLD" in said


def test_tables_have_no_shards(folder, tmp_path):
    said = embed(folder, tmp_path / "x.parquet", "--shard", "0/2", code=2).output
    assert "needs a folder as --out" in said


@pytest.mark.parametrize("method", ["mean", "median"])
def test_aggregate_to_wells(folder, tmp_path, method):
    embed(folder, tmp_path / "job", "--shard-size", 10)
    out = tmp_path / "wells.parquet"
    said = run("aggregate", tmp_path / "job", "--method", method, "--out", out).output
    assert f"12 profiles, the {method} of 24" in said
    assert "left out, as they vary in a group: image, label" in said
    found = pd.read_parquet(out)
    features = zoo.feature_columns(out)
    assert features == zoo.feature_columns(tmp_path / "job")
    items = zoo.read_profiles(tmp_path / "job").to_frame()
    by = ["Metadata_Plate", "Metadata_Well"]
    expected = items[by + features].astype(dict.fromkeys(features, float)).groupby(by).agg(method)
    # Sums in another order differ in the last bits of float64; the result is float32.
    np.testing.assert_allclose(found[features], expected, rtol=1e-5, atol=1e-7)
    run_id = json.loads((tmp_path / "job/job.json").read_text())["run"]
    assert set(found["Metadata_zoo_run"]) == {run_id}
    run("aggregate", out, "--by", "Metadata_Nowhere", "--out", tmp_path / "y.csv", code=1)
