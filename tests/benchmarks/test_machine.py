"""A GPU is described by PyTorch and the driver, or as far as they know it."""

from types import SimpleNamespace

import pytest
import torch
from machine import machine

GPU = SimpleNamespace(name="NVIDIA H200", uuid="1-2", multi_processor_count=132, clock_rate=1755000)


@pytest.fixture
def programs(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: GPU)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(programs, text):
    tool = programs / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)


def test_the_driver_knows_the_highest_clock(programs):
    install(programs, 'case "$*" in *"-i GPU-1-2"*) echo "1980, 580.159.04";; *) exit 6;; esac')
    found = machine("cuda")
    assert found["device"] == "NVIDIA H200"
    assert found["sms"] == 132
    assert found["sm_clock_mhz"] == 1980
    assert found["driver"] == "580.159.04"
    assert found["torch"] == torch.__version__


@pytest.mark.parametrize("text", ["exit 9", 'echo "[N/A], 580"', "echo"])
def test_without_the_driver_the_clock_is_pytorchs(programs, text):
    install(programs, text)
    found = machine("cuda")
    assert (found["sm_clock_mhz"], found["driver"]) == (1755, None)


def test_without_the_tool_the_clock_is_pytorchs(programs):
    assert machine("cuda")["sm_clock_mhz"] == 1755


def test_a_processor_has_no_limits():
    found = machine("cpu")
    assert "cores" in found["device"]
    assert found["sms"] is None
    assert found["unit"] == torch.backends.cpu.get_cpu_capability()
    assert found["threads"] >= 1
