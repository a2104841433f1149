"""Operators of PyTorch, called as plain functions where nothing has to see them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PLAIN = (Tensor, torch.nn.Parameter)
NUMBERS = (int, float, bool, torch.dtype, type(None))


def operator(name: str, *, traced: bool) -> Callable[[Callable[..., Any]], Any]:
    """Make an operator of a function whose first argument is a tensor.

    Where its kernels are not `traced`, as in Triton's interpreter, it is a closed box.
    """
    make: Any = torch.library.triton_op if traced else torch.library.custom_op

    def made(function: Callable[..., Any]) -> Any:
        result = make(f"microscopy_zoo::{name}", mutates_args=())(function)
        result.function = function
        return result

    return made


def needs_no_dispatcher(*arguments: Any) -> bool:
    """Whether a call is not compiled, traced, transformed or differentiated, on plain tensors.

    Tensors of other classes and those that are negated lazily are resolved by the dispatcher.
    """
    if (
        torch.compiler.is_compiling()
        or not torch.is_inference_mode_enabled()
        or torch._C._is_tracing()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
    ):
        return False
    for one in arguments:
        kind = type(one)
        if kind in PLAIN:
            if one.is_neg():
                return False
        elif kind not in NUMBERS:
            return False
    return True


def call_directly(made: Any, *arguments: Any) -> Any:
    """Call an operator as its function where nothing needs PyTorch's dispatcher.

    The dispatcher takes about 12 µs each time, a quarter of what the host needs for a layer.
    """
    return (made.function if needs_no_dispatcher(*arguments) else made)(*arguments)
