"""The most memory that a call needs beyond what was there before it."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch


def peak_mib(call: Callable[[], object], device: str) -> float | None:
    """Return MiB, on a GPU as PyTorch allots them, else as the system sees; None if it cannot."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    try:
        # What was freed before is given back, or the call would find it there and need nothing.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    except OSError:
        return None
    before = status("VmRSS")
    call()
    return max(0.0, status("VmHWM") - before) / 2**10


def status(field: str, process: int | str = "self") -> float:
    """Return a field of a process's status, in KiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))
