"""Operators of PyTorch, called as plain functions where nothing has to see them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


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


def only_computed(tensor: Tensor) -> bool:
    """Whether calls on a tensor are not compiled, traced, transformed or differentiated."""
    return (
        not torch.compiler.is_compiling()
        and torch.is_inference_mode_enabled()
        and not torch._C._is_tracing()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and type(tensor) in (Tensor, torch.nn.Parameter)
    )


def called(operator: Any, *arguments: Any) -> Any:
    """Call an operator.

    PyTorch's dispatcher takes 15 µs each time, a third of what the host needs for a layer.
    """
    return (operator.function if only_computed(arguments[0]) else operator)(*arguments)
