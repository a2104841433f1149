"""What a time was taken on: processor or GPU, its clock, and the software that matters."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def processor() -> str:
    """Name the processor and its cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def machine(device: str) -> dict[str, object]:
    """Describe a kind of device of this machine; what is unknown is None.

    The unit is the widest one of a processor that PyTorch uses, such as "AVX512".
    """
    software = {
        "torch": torch.__version__,
        "triton": _version("triton"),
        "threads": torch.get_num_threads(),
    }
    if device != "cuda":
        unit = torch.backends.cpu.get_cpu_capability()
        nothing = dict.fromkeys(("driver", "sms", "sm_clock_mhz"))
        return {"device": processor(), "unit": unit, **nothing} | software
    properties = torch.cuda.get_device_properties(0)
    clock, driver = _told_by_driver(f"GPU-{getattr(properties, 'uuid', '')}")
    if clock is None:
        kilohertz = getattr(properties, "clock_rate", None)
        clock = kilohertz / 1e3 if kilohertz else None
    return {
        "device": properties.name,
        "unit": None,
        "driver": driver,
        "sms": properties.multi_processor_count,
        "sm_clock_mhz": clock,
    } | software


def _told_by_driver(gpu: str) -> tuple[float | None, str | None]:
    """Return the highest clock of the multiprocessors in MHz, and the version of the driver."""
    command = ["nvidia-smi", "--query-gpu=clocks.max.sm,driver_version", "-i", gpu]
    command.append("--format=csv,noheader,nounits")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        clock, driver = done.stdout.strip().split(", ")
        return float(clock), driver
    except (OSError, ValueError, subprocess.SubprocessError):
        return None, None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
