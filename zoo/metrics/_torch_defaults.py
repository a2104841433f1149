"""PyTorch as it starts: no number depends on what the caller has set for all of PyTorch."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
AUTOCAST = ("cpu", "cuda")


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Undo the default type and device, autocast, inference mode, and products in lower precision.

    The number of threads stays: it moves the last digits only, by sums in another order.
    """
    import torch

    kind, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    with ExitStack() as undone:
        undone.callback(torch.set_default_dtype, kind)
        undone.callback(torch.set_float32_matmul_precision, precision)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        # Where nothing is set nothing is entered: a device context slows every call of PyTorch.
        if torch.get_default_device().type != "cpu":
            undone.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            undone.enter_context(torch.inference_mode(False))
        for device in AUTOCAST:
            if torch.is_autocast_enabled(device):
                undone.enter_context(torch.autocast(device, enabled=False))
        yield


def with_torch_defaults(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function run under `torch_defaults`."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch_defaults():
            return function(*args, **kwargs)

    return run
