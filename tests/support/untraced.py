"""Processes of the tests without coverage."""

import sys


def stop_tracing() -> None:
    """Stop coverage in this process.

    Kernels have none, and tracing every line doubles the time of interpreters and compilers.
    """
    coverage = sys.modules.get("coverage")
    if coverage is not None and (running := coverage.Coverage.current()) is not None:
        running.stop()
