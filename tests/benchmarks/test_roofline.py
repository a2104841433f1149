"""Limits by hand, and nothing where something is unknown."""

import pytest
from roofline import columns

ROW = {
    "pass": "forward",
    "median_s": 1e-3,
    "head_size": 16,
    "heads": 12,
    "tokens": 1000,
    "scores": 10**9,
    "dtype": "bfloat16",
    "device": "NVIDIA H100 80GB HBM3",
    "sms": 132,
    "sm_clock_mhz": 1980.0,
}


def test_forward_by_hand():
    found = columns(ROW)
    assert found["scores_per_s"] == pytest.approx(1e12)
    assert found["tflops"] == pytest.approx(64)
    # 132 · 16 · 1.98e9 = 4.18e12 exponentials a second
    assert found["percent_ex2"] == pytest.approx(100 / 4.18176)
    # 1000 rows of q, k, v and output, 192 bfloat16 each, in a millisecond
    assert found["percent_bandwidth"] == pytest.approx(100 * 1000 * 4 * 192 * 2 / 1e-3 / 3.35e12)


def test_backward_by_hand():
    forward, backward = columns(ROW), columns(ROW | {"pass": "backward"})
    assert backward["tflops"] == pytest.approx(2.5 * forward["tflops"])
    assert backward["percent_ex2"] == pytest.approx(2 * forward["percent_ex2"])
    assert backward["percent_bandwidth"] == pytest.approx(2 * forward["percent_bandwidth"])


def test_bytes_follow_the_dtype():
    wide = columns(ROW | {"dtype": "float32"})
    assert wide["percent_bandwidth"] == pytest.approx(2 * columns(ROW)["percent_bandwidth"])


def test_the_unknown_stays_blank():
    on_cpu = columns(ROW | {"device": "AMD EPYC, 2 cores", "sms": None, "sm_clock_mhz": None})
    assert on_cpu["percent_ex2"] is None
    assert on_cpu["percent_bandwidth"] is None
    assert on_cpu["tflops"] == pytest.approx(64)
    assert columns(ROW | {"device": "NVIDIA GH200 480GB"})["percent_bandwidth"] is None
    assert columns(ROW | {"sm_clock_mhz": None})["percent_ex2"] is None
