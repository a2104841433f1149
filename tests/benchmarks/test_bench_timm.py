"""The ways to run a timm network give the same features, and rows and table say what was timed."""

import sys

import bench_timm
import kept_rows
import pytest
import torch


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: model)


def test_rows_and_table(tmp_path, monkeypatch, capsys):
    arguments = ["bench_timm.py", "resnet18", "--planes", "1", "--rounds", "2"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--results", str(tmp_path)])
    bench_timm.main()
    (kept,) = tmp_path.glob("timm-*.csv")
    rows = kept_rows.read(kept)
    assert [r["way"] for r in rows] == ["zoo", "colours outermost", "compiled"]
    for row in rows:
        assert float(row["planes_per_s"]) == pytest.approx(1 / float(row["median_s"]), rel=1e-4)
    assert "| resnet18 | " in capsys.readouterr().out


def test_another_result_gets_no_time(monkeypatch):
    real = bench_timm.ways

    def wrong(network, device):
        found = real(network, device)
        return found | {"compiled": lambda planes: 2 * found["zoo"](planes)}

    monkeypatch.setattr(bench_timm, "ways", wrong)
    with pytest.raises(SystemExit, match="resnet18, compiled: differs by"):
        bench_timm.measure("resnet18", "cpu", 1, 2)
