"""The table names the faster one, and a broken promise is an error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import attention_table
import kept_rows
import pytest
from attention_providers import BUCKETED, PADDED, TRITON
from attention_table import FIELDS, KEY, promises, verdict

ROOT = Path(__file__).resolve().parents[2]


def row(provider, median, workload="3 channels", **more):
    return {
        "workload": workload,
        "provider": provider,
        "pass": "forward",
        "images": 4,
        "tokens": 2356,
        "heads": 12,
        "head_size": 16,
        "dtype": "float32",
        "scores": 4 * 12 * 589**2,
        "p20_s": 0.99 * median,
        "median_s": median,
        "p80_s": 1.01 * median,
        "device": "Abacus",
        **more,
    }


def said(*rows):
    return verdict({r["provider"]: r for r in rows})


def test_ours_is_compared_with_the_fastest_of_the_others():
    text = said(row(BUCKETED, 0.1), row(PADDED, 0.5), row("varlen_attn", 0.3))
    assert text == f"{BUCKETED} 100 ms, 3.00 × as fast as varlen_attn"


def test_a_faster_rival_is_named():
    text = said(row(BUCKETED, 0.1), row("varlen_attn", 0.05), row(PADDED, 9.0))
    assert text == f"{BUCKETED} 100 ms; varlen_attn is 2.00 × as fast"


def test_what_the_spread_explains_is_level():
    assert said(row(BUCKETED, 0.1), row("b", 0.101)).endswith("level with b")
    assert said(row(BUCKETED, 0.101), row("b", 0.1)).endswith("level with b")


def test_on_a_gpu_ours_is_triton():
    triton = row(TRITON, 0.002, percent_ex2=61.4, graph_s=0.001)
    text = said(triton, row(BUCKETED, 0.004))
    assert text.startswith(f"{TRITON} 2 ms (61 % of the exponentials) [1 ms in a CUDA graph]")
    assert text.endswith(f"2.00 × as fast as {BUCKETED}")


def test_without_ours_or_others():
    assert said(row(PADDED, 1.0)) == "ours has no time"
    assert said(row(BUCKETED, 1.0)).endswith("alone")


@pytest.mark.parametrize(
    ("workload", "padded", "kept"),
    [
        ("3 channels", 6.5, True),
        ("3 channels", 5.5, False),
        ("10 channels", 1.1, True),
        ("10 channels", 0.99, True),  # within the spread
        ("10 channels", 0.9, False),
    ],
)
def test_promises(workload, padded, kept):
    rows = [row(BUCKETED, 1.0, workload), row(PADDED, padded, workload)]
    ((_, found),) = promises(rows)
    assert found == kept


def test_promises_are_of_processors_heads_of_16_and_forward():
    slow = [row(BUCKETED, 1.0), row(PADDED, 1.0)]
    for other in ({"sms": 132}, {"head_size": 32}, {"pass": "backward"}, {"workload": "uniform"}):
        assert promises([r | other for r in slow]) == []
    assert promises(slow[:1]) == []


def run_of(path, rows):
    entries = []
    for r in rows:
        notes = {k: v for k, v in r.items() if not k.endswith("_s")}
        times = [r["p20_s"], r["median_s"], r["p80_s"]]
        entries.append({"extra_info": notes, "stats": {"data": times, "median": r["median_s"]}})
    path.write_text(json.dumps({"benchmarks": entries}))
    return path


def table(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["attention_table.py", *map(str, arguments)])
    attention_table.main()


def test_from_a_run_to_kept_rows(tmp_path, monkeypatch, capsys):
    options = ("--results", tmp_path, "--commit", "abc")
    table(monkeypatch, run_of(tmp_path / "1.json", [row(BUCKETED, 1.0), row("b", 2.0)]), *options)
    kept = tmp_path / "attention-abacus.csv"
    rows = kept_rows.read(kept)
    assert [r["provider"] for r in rows] == [BUCKETED, "b"]
    assert list(rows[0]) == list(FIELDS)
    assert float(rows[0]["scores_per_s"]) == pytest.approx(4 * 12 * 589**2, rel=1e-5)
    assert rows[0]["commit"] == "abc"

    # The next run is slower; the base is the file that it overwrites.
    capsys.readouterr()
    new = run_of(tmp_path / "2.json", [row(BUCKETED, 1.5)])
    table(monkeypatch, new, *options, "--base", kept, "--add")
    out = capsys.readouterr().out
    assert "  1.50  3 channels, 4, 12, 16, float32, forward, zoo sdpa (bucketed)  SLOWER" in out
    medians = {r["provider"]: r["median_s"] for r in kept_rows.read(kept)}
    assert medians == {BUCKETED: "1.5", "b": "2"}
    table(monkeypatch, new, *options)
    assert len(kept_rows.read(kept)) == 1


def test_a_broken_promise_is_an_error_after_the_rows_are_kept(tmp_path, monkeypatch, capsys):
    run = run_of(tmp_path / "run.json", [row(BUCKETED, 1.0), row(PADDED, 2.0)])
    with pytest.raises(SystemExit) as exited:
        table(monkeypatch, run, "--results", tmp_path)
    assert exited.value.code == 1
    assert "BROKEN: 3 channels: 2.00 × as fast" in capsys.readouterr().out
    assert len(kept_rows.read(tmp_path / "attention-abacus.csv")) == 2


@pytest.mark.slow
def test_the_benchmark_notes_what_the_table_needs(tmp_path):
    run = tmp_path / "run.json"
    command = [sys.executable, "-P", "-m", "pytest", "benchmarks/bench_ragged_attention.py", "-q"]
    command += ["-p", "no:cacheprovider", f"--benchmark-json={run}"]
    command += ["-k", "1-channel-x4-12x16-float32-forward and (bucketed or longest)"]
    # Benchmarks are not timed in a worker of xdist, and this process may be one.
    mine = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    environment = mine | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    rows = [r | attention_table.columns(r) for r in kept_rows.of_run(run, "abc")]
    assert {r["provider"] for r in rows} == {BUCKETED, "padded to longest"}
    for r in rows:
        assert set(FIELDS) <= set(r)
        assert set(KEY) <= set(r)
        assert r["rounds"] >= 5
        assert 0 < r["p20_s"] <= r["median_s"] <= r["p80_s"] < 1
        assert r["scores"] == 4 * 12 * 197**2
