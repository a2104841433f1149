"""Linear layers on a CPU, fused with the following ReLU or addition."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def _onednn() -> Any:
    """Return the operator that PyTorch's compiler uses for such layers, or None."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


_LINEAR = _onednn()


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``relu(x @ weight.T + bias)``; without gradients."""
    if _takes(x, weight, bias):
        found: Tensor = _LINEAR(x, weight, bias, "relu", [], "")
        return found
    return F.relu(F.linear(x, weight, bias), inplace=True)


def linear_add(x: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
    """Return ``x @ weight.T + bias + other``; without gradients."""
    if _takes(x, weight, bias, other):
        found: Tensor = _LINEAR.binary(x, other, weight, bias, "add")
        return found
    return F.linear(x, weight, bias).add_(other)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``x @ weight.T + bias``; without gradients."""
    if _takes(x, weight, bias):
        found: Tensor = _LINEAR(x, weight, bias, "none", [], "")
        return found
    return F.linear(x, weight, bias)


def _takes(*tensors: Tensor) -> bool:
    # PyTorch's compiler fuses layers itself, and knows no shape of what `binary` returns.
    if _LINEAR is None or torch.compiler.is_compiling():
        return False
    return all(
        t.device.type == "cpu" and t.dtype == torch.float32 and t.is_contiguous() for t in tensors
    )
