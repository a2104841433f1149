"""Table, figure and promises of the whole encoder, and its comparison with earlier rows."""

import json
import sys

import encode_figure
import encode_table
import kept_rows
import pytest
import torch
from encode_cases import Case, cases
from encode_providers import OURS, PADDED
from roofline import encoder_columns


def entry(provider, seconds, workload="3 channels", images=4, **more):
    noted = {
        "workload": workload,
        "provider": provider,
        "images": images,
        "channels": 3 * images,
        "dtype": "float32",
        "peak_mib": 12.3,
        "operations": 8e9,
        "exponentials": 1e9,
        "bytes": 1e6,
        "product_rate": 1e10,
        "device": "Abacus, 2 cores",
        "unit": "AVX2",
        **more,
    }
    return {"extra_info": noted, "stats": {"data": [seconds] * 3, "median": seconds}}


def run_of(path, *entries):
    path.write_text(json.dumps({"benchmarks": entries}))
    return path


def table(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["encode_table.py", *map(str, arguments)])
    encode_table.main()


def test_images_a_second_shares_ratios_and_a_comparison(tmp_path, monkeypatch, capsys):
    old = run_of(tmp_path / "old.json", entry(OURS, 1.0), entry(PADDED, 8.0))
    table(monkeypatch, old, "--results", tmp_path)
    assert "| 3 channels × 4 | float32 | 4 | 80 | 12 | 8 |" in capsys.readouterr().out
    kept = tmp_path / "encode-abacus-2-cores.csv"
    assert list(kept_rows.read(kept)[0]) == list(encode_table.FIELDS)

    new = run_of(tmp_path / "new.json", entry(OURS, 1.05), entry(PADDED, 8.0))
    table(monkeypatch, new, "--results", tmp_path, "--base", kept)
    out = capsys.readouterr().out
    assert "  1.05  3 channels, 4, float32, zoo\n" in out
    assert kept_rows.read(kept)[0]["median_s"] == "1.05"


def test_rows_of_cases_that_were_left_out_can_be_kept(tmp_path, monkeypatch):
    table(monkeypatch, run_of(tmp_path / "a.json", entry(OURS, 1.0)), "--results", tmp_path)
    one = run_of(tmp_path / "b.json", entry(OURS, 0.5, "5 channels"))
    table(monkeypatch, one, "--results", tmp_path, "--add")
    rows = kept_rows.read(tmp_path / "encode-abacus-2-cores.csv")
    assert [r["workload"] for r in rows] == ["3 channels", "5 channels"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry(OURS, 2.0)], "3 channels: 40 % of the matrix product, 75 promised"),
        ([entry(OURS, 1.15)], "3 channels: 70 % of the matrix product, 75 promised"),
        (
            [entry(OURS, 2.0, unit="AVX512")],
            "3 channels: 40 % of the matrix product, 65 promised",
        ),
        (
            [entry(OURS, 1.0, "uniform 1-10"), entry(PADDED, 2.0, "uniform 1-10")],
            "uniform 1-10: 2.0 × padded, fast path off, 2.5 promised",
        ),
    ],
)
def test_broken_promises_fail(tmp_path, monkeypatch, entries, message):
    with pytest.raises(SystemExit, match=message):
        table(monkeypatch, run_of(tmp_path / "run.json", *entries), "--results", tmp_path)


def test_promises_are_of_processors_by_their_unit_and_of_the_largest_batch(tmp_path, monkeypatch):
    small, large = entry(OURS, 2.0, images=1), entry(OURS, 1.0, images=4)
    table(monkeypatch, run_of(tmp_path / "run.json", small, large), "--results", tmp_path)
    wide = entry(OURS, 1.15, unit="AVX512")
    table(monkeypatch, run_of(tmp_path / "wide.json", wide), "--results", tmp_path)
    gpu = entry(OURS, 2.0, sms=132)
    table(monkeypatch, run_of(tmp_path / "gpu.json", gpu), "--results", tmp_path)


def test_the_floor_is_products_or_exponentials_and_the_bytes():
    row = entry(OURS, 0.0)["extra_info"] | {
        "median_s": 1e-3,
        "operations": 4e11,
        "product_rate": 8e14,  # half a millisecond
        "exponentials": 1e9,  # at 132 · 16 · 1.98e9 a second, 0.24 ms
        "bytes": 3.35e8,  # a tenth of a millisecond
        "device": "NVIDIA H100 80GB HBM3",
        "sms": 132,
        "sm_clock_mhz": 1980.0,
    }
    found = encoder_columns(row)
    assert found["percent_products"] == pytest.approx(50)
    assert found["percent_floor"] == pytest.approx(60)
    more = encoder_columns(row | {"exponentials": 4.18176e9})
    assert more["percent_floor"] == pytest.approx(110)
    assert encoder_columns(row | {"device": "Abacus"})["percent_floor"] is None
    assert encoder_columns({"median_s": 1.0, "operations": ""})["percent_products"] is None


def test_what_a_pass_costs_by_hand():
    case = Case("3 channels", 2, torch.float32, "cpu")
    n = 589  # tokens of an image
    layer = 2 * n * (192 * 576 + 192 * 192 + 2 * 192 * 2048) + 4 * 192 * n * n
    last = 2 * n * 192 * 384 + 2 * (2 * 192 * 192 + 2 * 192 * 2048) + 4 * 192 * n
    assert case.operations == 2 * (11 * layer + last + 2 * 3 * 196 * 256 * 192)
    assert case.exponentials == 2 * 12 * (11 * n * n + n)
    assert case.batch(0).planes.shape == (6, 224, 224)


def test_a_gpu_gets_all_batches_in_half_precision_and_one_in_float32():
    found = {(c.images, c.dtype) for c in cases("cuda")}
    wanted = {(n, torch.bfloat16) for n in (1, 32, 256)} | {(32, torch.float32)}
    assert found == wanted
    assert len({str(c) for c in cases("cuda")}) == len(cases("cuda"))


def test_bars_are_ratios_to_the_padded_original(tmp_path):
    rows = [
        {**e["extra_info"], "median_s": e["stats"]["median"], "torch": "2.15"}
        for e in (
            entry(OURS, 1.0),
            entry(PADDED, 8.0),
            entry("bucketed SDPA", 2.0),
            entry(OURS, 1.0, images=1),
            entry(OURS, 1.0, "5 channels"),
        )
    ]
    assert encode_figure.bars(rows) == {"3 channels\n× 4": {OURS: 8.0, "bucketed SDPA": 4.0}}
    encode_figure.draw(rows, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_committed_rows_still_make_the_table():
    paths = list(kept_rows.RESULTS.glob("encode-*.csv"))
    assert paths
    for path in paths:
        text = encode_table.table(kept_rows.read(path))
        assert text.startswith("| images | arithmetic | zoo, images/s |")
        assert "| 3 channels × " in text
