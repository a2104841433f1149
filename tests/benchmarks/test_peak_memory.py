"""Peaks are of what a call needs, not of what was there before it."""

import sys

import pytest
import torch
from peak_memory import peak_mib

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the system of Linux")


def use(mib, pieces=1):
    return [torch.ones(mib * 2**18 // pieces) for _ in range(pieces)]


def test_the_peak_of_a_call_is_seen_even_where_memory_was_used_before():
    if peak_mib(lambda: None, "cpu") is None:
        pytest.skip("the system does not say")
    use(64, 32)  # freed, and perhaps kept for later
    for pieces in (1, 32):
        assert 60 <= peak_mib(lambda pieces=pieces: use(64, pieces), "cpu") <= 80
    held = use(64)
    assert peak_mib(lambda: None, "cpu") <= 10
    assert held
