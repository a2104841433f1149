"""The table of the whole encoder, and its comparison with earlier rows."""

import json
import sys

import encode_table
import kept_rows


def run_of(path, seconds):
    entries = [
        {
            "extra_info": {
                "workload": "3 channels",
                "provider": provider,
                "images": 4,
                "channels": 12,
                "processor": "Abacus, 2 cores",
            },
            "stats": {"data": [time] * 3, "median": time},
        }
        for provider, time in seconds.items()
    ]
    path.write_text(json.dumps({"benchmarks": entries}))
    return path


def table(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["encode_table.py", *map(str, arguments)])
    encode_table.main()


def test_images_a_second_ratios_and_a_comparison(tmp_path, monkeypatch, capsys):
    old = run_of(tmp_path / "old.json", {"zoo": 1.0, "padded": 8.0})
    table(monkeypatch, old, "--results", tmp_path)
    assert "| 3 channels | 4.0 | 8.0 |" in capsys.readouterr().out
    kept = tmp_path / "encode-abacus-2-cores.csv"
    assert list(kept_rows.read(kept)[0]) == list(encode_table.FIELDS)

    new = run_of(tmp_path / "new.json", {"zoo": 2.0, "padded": 8.0})
    table(monkeypatch, new, "--results", tmp_path, "--base", kept)
    out = capsys.readouterr().out
    assert "  2.00  3 channels, zoo  SLOWER\n  1.00  3 channels, padded\n" in out
    assert "| 3 channels | 2.0 | 4.0 |" in out
    assert kept_rows.read(kept)[0]["median_s"] == "2"


def test_committed_rows_still_make_the_table():
    paths = list(kept_rows.RESULTS.glob("encode-*.csv"))
    assert paths
    for path in paths:
        text = encode_table.table(kept_rows.read(path))
        assert text.startswith("| images | zoo, images/s | × padded")
        assert "| 3 channels | " in text
