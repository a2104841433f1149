"""The benchmarks of profiles: their rows, their checks and what they say."""

import sys

import bench_profiles
import bench_retrieval
import kept_rows
import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="module")
def small_null():
    with pytest.MonkeyPatch.context() as patched:
        for module in (bench_profiles, bench_retrieval):
            patched.setattr(module, "NULL_SIZE", 100)
        patched.setattr(bench_profiles, "CHECKED", 8)
        yield


@pytest.fixture(scope="module")
def rows(small_null):
    return bench_profiles.run(300, None, 1)


def test_every_step_agrees_with_its_loop(rows):
    assert [row["what"] for row in rows] == [
        "90 nearest neighbours",
        "kNN classification",
        "retrieval, any",
        "retrieval, controls",
        "retrieval, across batches",
        "silhouette, label",
        "LISI, label",
        "silhouette, plate",
        "LISI, plate",
        "all",
    ]
    # LISI finds its bandwidth to one part in 1e9, which costs the index some more.
    assert max(row["difference"] for row in rows) < 1e-6
    assert max(row["difference"] for row in rows[:-1] if "LISI" not in row["what"]) < 1e-12
    values = {row["what"]: row["value"] for row in rows}
    assert 0.1 < values["retrieval, any"] < values["retrieval, controls"] < 1
    assert rows[-1]["wall_s"] == pytest.approx(sum(row["wall_s"] for row in rows[:-1]))
    assert rows[-1]["peak_mib"] == rows[-2]["peak_mib"]


def test_a_wrong_number_is_noticed():
    suite = bench_profiles.Suite(*bench_profiles.plates(200), None)
    steps = suite.steps()
    for take, _ in steps.values():
        take()

    def differences():
        return {what: check() for what, (_, check) in steps.items()}

    assert max(differences().values()) < 1e-6
    for name in suite.found:
        what = name if name in steps else f"retrieval, {name}"
        kept, suite.found[name] = suite.found[name], suite.found[name] + 1e-3
        wrong = [step for step, difference in differences().items() if difference > 1e-6]
        assert wrong == [what]
        suite.found[name] = kept
    suite.predicted = suite.predicted + 1
    assert differences()["kNN classification"] == 1
    suite.near = suite.near[0], suite.near[1] + 1e-3
    assert differences()["90 nearest neighbours"] == pytest.approx(1e-3)


def test_rows_are_kept_and_limits_are_told(rows, tmp_path, monkeypatch, capsys):
    # What else this process holds is not this test's matter.
    rows = [row | {"peak_mib": 1000} for row in rows]
    monkeypatch.setattr(bench_profiles, "run", lambda *arguments: rows)
    monkeypatch.setattr(sys, "argv", ["bench_profiles.py", "--results", str(tmp_path)])
    bench_profiles.main()
    assert "300 profiles × 192: within 600 s and 2048 MiB" in capsys.readouterr().out
    (path,) = tmp_path.glob("profiles-*.csv")
    kept = kept_rows.read(path)
    assert list(kept[0]) == list(bench_profiles.FIELDS)
    assert len(kept) == 10
    bench_profiles.main()
    assert len(kept_rows.read(path)) == 10
    late = [*rows[:-1], rows[-1] | {"wall_s": 601.0}]
    assert "BEYOND 600 s" in bench_profiles.report(late)
    large = [*rows[:-1], rows[-1] | {"peak_mib": 2049}]
    assert "BEYOND 600 s" in bench_profiles.report(large)


def test_agreement_is_in_units_of_the_error_of_two_nulls():
    one = {"mean_average_precision": [0.5, 0.3], "p_value": [0.1, 0.5]}
    other = {"mean_average_precision": [0.5, 0.31], "p_value": [0.1, 0.52]}
    difference, errors = bench_retrieval.agreement(one, other)
    assert difference == pytest.approx(0.01)
    wanted = 0.02 / np.sqrt(2 * 0.51 * 0.49 / bench_retrieval.NULL_SIZE)
    assert errors == pytest.approx(wanted)
    assert bench_retrieval.agreement(one, one) == (0, 0)


def test_providers_take_turns_and_are_compared(tmp_path, monkeypatch, capsys):
    called = []

    def told(provider, definition, profiles, folder):
        called.append(provider)
        slow = provider != bench_retrieval.OURS
        return {
            "s": 30.0 if slow else 1.0,
            "cpu_s": 1.0,
            "mib": 600.0 if slow else 50.0,
            "process_mib": 900.0,
            "p_value": [0.1],
            "mean_average_precision": [0.5 + (1e-6 if provider == bench_retrieval.RIVAL else 0)],
        }

    monkeypatch.setattr(bench_retrieval, "told", told)
    arguments = ["--definitions", "any", "--rounds", "2", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench_retrieval.py", *arguments])
    bench_retrieval.main()
    assert called == ["zoo", "copairs", "zoo", "copairs", "copairs in float64"]
    out = capsys.readouterr().out
    assert "any: 30.0 times as fast, 1/12.0 of the memory; mAP differs by 1e-06" in out
    assert "from copairs in float64 by 0, p-values by 0.0 errors" in out
    (path,) = tmp_path.glob("retrieval-*.csv")
    kept = kept_rows.read(path)
    assert list(kept[0]) == list(bench_retrieval.FIELDS)
    assert [row["provider"] for row in kept] == ["zoo", "copairs"]
    assert kept[1]["difference"] == ""


def test_one_round_is_measured_in_this_process():
    one = bench_retrieval.once("zoo", "across batches", 300)
    treatments = len(set(bench_retrieval.workload(300)[1]["label"])) - 1
    assert len(one["mean_average_precision"]) == len(one["p_value"]) == treatments
    assert one["s"] > 0
    assert one["process_mib"] > one["mib"]


def test_kept_rows_still_make_a_report():
    for path in kept_rows.RESULTS.glob("profiles-*.csv"):
        kept = kept_rows.read(path)
        assert {row["what"] for row in kept} >= {"all", "retrieval, any"}
        assert all(float(row["difference"]) < 1e-6 for row in kept)
