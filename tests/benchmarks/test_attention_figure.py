"""The figure shows the rows that it says it shows."""

import sys

import attention_figure
import pytest
from attention_figure import LOOKS, bars, draw
from attention_providers import BUCKETED, PADDED, TRITON


def row(provider, speed, percent="", **more):
    return {
        "workload": "3 channels",
        "provider": provider,
        "pass": "forward",
        "images": "64",
        "head_size": "16",
        "dtype": "bfloat16",
        "scores_per_s": str(speed),
        "percent_ex2": str(percent),
        "device": "Abacus",
        "torch": "2.11",
        **more,
    }


ON_GPU = [
    row(TRITON, 2.5e12, 60),
    row(BUCKETED, 1e12, 25),
    row("bucketed, math", 1e11, 2),
    row(TRITON, 1e12, 24, images="8"),
    row(TRITON, 1e12, 23, dtype="float32"),
    row(TRITON, 1e12, 22, head_size="32"),
    row(TRITON, 1e12, 21, **{"pass": "backward"}),
]
ON_CPU = [row(BUCKETED, 9e8), row(PADDED, 1e8), row("padded to longest", 8e8)]


def test_heights_on_a_gpu_are_per_cent_of_the_limit():
    assert bars(ON_GPU) == ({"3 channels\n× 64": {TRITON: 60, BUCKETED: 25}}, True)


def test_heights_on_a_processor_are_ratios_to_padding():
    heights, of_limit = bars(ON_CPU)
    assert not of_limit
    assert heights == {"3 channels\n× 64": {BUCKETED: 9, PADDED: 1, "padded to longest": 8}}


@pytest.mark.parametrize("rows", [ON_GPU, ON_CPU])
def test_it_draws(rows, tmp_path):
    draw(rows, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    draw(rows, tmp_path / "speed.svg")
    first = (tmp_path / "speed.svg").read_bytes()
    draw(rows, tmp_path / "speed.svg")
    assert (tmp_path / "speed.svg").read_bytes() == first  # no date, no random names


def test_looks_differ():
    assert len(set(LOOKS.values())) == len({colour for colour, _ in LOOKS.values()}) == len(LOOKS)


def test_uncommitted_rows_are_not_drawn(tmp_path, monkeypatch):
    source = tmp_path / "rows.csv"
    source.write_text("workload\n")
    monkeypatch.setattr(sys, "argv", ["attention_figure.py", str(source), "speed.png"])
    with pytest.raises(SystemExit, match="commit"):
        attention_figure.main()
