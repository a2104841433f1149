"""Rows are read, kept and compared."""

import json
import shutil
import subprocess

import kept_rows
import pytest

KEY = ("workload", "provider")
FIELDS = ("workload", "provider", "p20_s", "median_s", "p80_s", "commit")


def row(provider, median, spread=0.01, workload="mixed"):
    low, high = median * (1 - spread), median * (1 + spread)
    return {
        "workload": workload,
        "provider": provider,
        "p20_s": low,
        "median_s": median,
        "p80_s": high,
        "commit": "abc",
    }


def test_a_run_becomes_rows(tmp_path):
    entry = {
        "stats": {"data": [5.0, 1.0, 2.0, 4.0, 3.0, 6.0], "median": 3.5},
        "extra_info": {"provider": "ours"},
    }
    run = tmp_path / "run.json"
    cut_off = {"stats": {"data": [5.0], "median": 5.0}, "extra_info": {}}
    run.write_text(json.dumps({"benchmarks": [entry, cut_off]}))
    (found,) = kept_rows.of_run(run, "abc")
    assert found == {
        "provider": "ours",
        "median_s": 3.5,
        "rounds": 6,
        "p20_s": 2.0,
        "p80_s": 5.0,
        "commit": "abc",
    }


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "rows.csv"
    kept_rows.write(path, FIELDS, [row("a, b", 1 / 3) | {"commit": None, "extra": 1}])
    (found,) = kept_rows.read(path)
    assert list(found) == list(FIELDS)
    assert found["provider"] == "a, b"
    assert float(found["median_s"]) == pytest.approx(1 / 3, rel=1e-5)  # six digits are kept
    assert found["commit"] == ""


def test_a_file_is_named_after_the_machine(tmp_path):
    path = kept_rows.path_for("attention", "NVIDIA H100 80GB HBM3", tmp_path)
    assert path == tmp_path / "attention-nvidia-h100-80gb-hbm3.csv"


def test_new_rows_replace_old_ones_of_the_same_key():
    old = [row("a", 1.0), row("b", 2.0)]
    found = kept_rows.joined(old, [row("b", 3.0), row("c", 4.0)], KEY)
    assert [(r["provider"], r["median_s"]) for r in found] == [("a", 1), ("b", 3), ("c", 4)]


@pytest.mark.parametrize(
    ("now", "spread", "slower"),
    [(1.2, 0.01, True), (1.05, 0.01, False), (1.2, 0.15, False), (0.5, 0.01, False)],
)
def test_slower_is_more_than_a_tenth_and_more_than_the_spread(now, spread, slower):
    before = {k: str(v) for k, v in row("a", 1.0, spread).items()}  # as read from a file
    (line,) = kept_rows.comparison([row("a", now, spread), row("new", 9.0)], [before], KEY)
    assert line.endswith("SLOWER") == slower
    assert f"{now:.2f}" in line
    assert "mixed, a" in line


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    name = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    folder = tmp_path / "checkout" / "results"
    path = folder / "rows.csv"
    kept_rows.write(path, FIELDS, [row("a", 1.0)])

    def git(*arguments):
        subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "rows")
    return path


def test_a_base_is_a_commit_or_a_file(repository, tmp_path):
    other = tmp_path / "other.csv"
    kept_rows.write(other, FIELDS, [row("a", 7.0)])
    kept_rows.write(repository, FIELDS, [row("a", 2.0)])
    assert kept_rows.of_base("HEAD", repository)[0]["median_s"] == "1"
    assert kept_rows.of_base(str(other), repository)[0]["median_s"] == "7"
    with pytest.raises(SystemExit, match="neither a file nor a commit"):
        kept_rows.of_base("nonsense", repository)


def test_rows_are_committed_or_not(repository):
    assert kept_rows.is_committed(repository)
    kept_rows.write(repository, FIELDS, [row("a", 2.0)])
    assert not kept_rows.is_committed(repository)
    kept_rows.write(repository.with_name("new.csv"), FIELDS, [row("a", 2.0)])
    assert not kept_rows.is_committed(repository.with_name("new.csv"))
