"""Threads for tasks, and the device they run on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    import torch

Task = TypeVar("Task")


def run_in_threads(
    work: Callable[[Task], None], tasks: Iterable[Task], threads: int | None
) -> None:
    """Run all tasks; a thread takes the next one when it has finished one.

    Linear algebra is limited to one thread in each. By default there are as many threads as linear
    algebra may use, so its limits (``OMP_NUM_THREADS``, threadpoolctl) hold here too. With 0
    threads the calling thread does everything, and linear algebra is not limited.
    """
    if threads is not None and threads < 0:
        raise ValueError(f"threads must be at least 1, not {threads}")
    if threads == 0:
        for task in tasks:
            work(task)
        return
    algebra = _linear_algebra()
    if threads is None:
        threads = max((library["num_threads"] for library in algebra.info()), default=1)
    left, lock = iter(tasks), Lock()
    nothing = object()

    def take() -> None:
        nonlocal left
        try:
            while True:
                with lock:
                    task: Any = next(left, nothing)
                if task is nothing:
                    return
                work(task)
        except BaseException:
            left = iter(())  # the other threads stop too
            raise

    with algebra.limit(limits=1):
        if threads == 1:
            take()
            return
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(take) for _ in range(threads)]:
                done.result()


@cache
def _linear_algebra() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")  # looking for it takes 20 ms


def device_of(name: str | None) -> torch.device | None:
    """The PyTorch device; None for NumPy on the CPU."""
    if name is None:
        return None
    import torch

    device = torch.device(name)
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu' or 'cuda', which have float64, not {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was requested, but PyTorch finds no CUDA GPU")
    return device
