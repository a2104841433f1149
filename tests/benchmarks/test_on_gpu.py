"""The script for GPUs, tried on a CPU: what it runs and keeps, and that it says what failed."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(out, stages, **settings):
    given = {"ON_GPU_DRY": "1", "OUT": str(out), "STAGES": stages, "PYTHON": sys.executable}
    return subprocess.run(
        ["bash", BENCHMARKS / "on_gpu.sh"],
        env=os.environ | given | settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.long
def test_each_stage_writes_its_rows(tmp_path):
    done = run(tmp_path, "ceilings attention host layers train", COMMIT="abc1234")
    assert done.returncode == 0, done.stdout
    summary = (tmp_path / "summary.txt").read_text()
    for name in ("ceilings", "attention", "host", "layers", "train"):
        assert f"== {name}: status 0" in summary
    with (tmp_path / "attention.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["pass"] for row in rows} == {"forward", "backward"}
    assert {row["commit"] for row in rows} == {"abc1234"}
    assert all(float(row["median_s"]) > 0 for row in rows)
    small = (tmp_path / "small.txt").read_text()
    assert '"commit": "abc1234"' in small
    assert "residual_mlp,197,torch," in small
    assert "it takes weights in bfloat16" in small, "what did not run is in the table too"
    assert len(list(tmp_path.iterdir())) <= 8
    kept = tmp_path / "kept"
    report = [sys.executable, BENCHMARKS / "gpu_report.py", tmp_path, "--keep", "--results", kept]
    told = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    (file,) = kept.iterdir()
    assert file.name.startswith("attention-")
    assert f"{file} is written" in told


@pytest.mark.long
def test_a_stage_that_fails_stops_no_other(tmp_path):
    broken = tmp_path / "python"
    broken.write_text(
        f'#!/bin/sh\ncase "$1" in *gpu_host.py) echo broken >&2; exit 3;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    broken.chmod(0o755)
    done = run(tmp_path / "out", "host ceilings", PYTHON=str(broken))
    assert done.returncode == 1
    summary = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    assert summary[0].startswith("== ceilings: status 0")
    assert summary[1].startswith("== host: status 3")
    assert "broken" in (tmp_path / "out" / "log.txt").read_text()


@pytest.mark.long
def test_what_no_time_is_left_for_is_said(tmp_path):
    done = run(tmp_path, "ceilings", BUDGET="10")
    assert done.returncode == 0
    assert (tmp_path / "summary.txt").read_text() == "== ceilings: no time left\n"
