"""The parts of a transformer layer around its attention, for packed rows.

>>> qkv = norm_qkv(x, weights)
>>> mixed = ragged_attention(qkv, plan.cu_seqlens, plan=plan)
>>> x = residual_mlp(x, mixed.flatten(1), weights)
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _cpu_linear as cpu
from ._autocast import no_autocast
from ._operators import call_directly

try:
    from . import _fused_layer_op as op
    from ._fused_layer_op import why_not as why_not
except ModuleNotFoundError as missing:
    if missing.name != "triton":
        raise

    def why_not(x: Tensor, dtype: torch.dtype, hidden: int | None = None) -> str | None:
        """Return why the Triton kernels do not support rows `x` and weights of a dtype."""
        return "Triton is not installed"


BACKENDS = ("triton", "torch")
HIDDEN_AT_ONCE = 2**19
"""Hidden activations computed at once on a CPU, so that they stay in its cache."""


class LayerWeights(NamedTuple):
    """Parameters of one layer of ChAda-ViT, as `torch.nn` stores them; D features, M hidden units.

    Attributes
    ----------
    qkv_weight, qkv_bias
        Joint projection to queries, keys and values: `(3 D, D)`, `(3 D,)`.
    out_weight, out_bias
        Projection of the attention's output: `(D, D)`, `(D,)`.
    norm1_weight, norm1_bias
        LayerNorm before the attention, and again after it: `(D,)`.
    up_weight, up_bias
        First layer of the MLP: `(M, D)`, `(M,)`.
    down_weight, down_bias
        Second layer of the MLP: `(D, M)`, `(D,)`.
    norm2_weight, norm2_bias
        LayerNorm after the MLP: `(D,)`.
    eps
        Added to the variance by both LayerNorms.
    """

    qkv_weight: Tensor
    qkv_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor
    norm1_weight: Tensor
    norm1_bias: Tensor
    up_weight: Tensor
    up_bias: Tensor
    down_weight: Tensor
    down_bias: Tensor
    norm2_weight: Tensor
    norm2_bias: Tensor
    eps: float


QKV_FIELDS = ("norm1_weight", "norm1_bias", "qkv_weight", "qkv_bias")
MLP_FIELDS = LayerWeights._fields[2:-1]
MATRICES = {"qkv_weight", "out_weight", "up_weight", "down_weight"}


def norm_qkv(
    x: Tensor,
    weights: LayerWeights,
    *,
    query_rows: Tensor | None = None,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
) -> Tensor:
    """LayerNorm, then the joint projection to queries, keys and values.

    Parameters
    ----------
    x
        Rows of the residual stream, `(T, D)`, float32 or wider.
    weights
        Parameters of the layer. Matrices may be in half precision: then only operands of products
        are rounded, and sums are float32. Under autocast they are lowered.
    query_rows
        Rows to compute queries for, `(B,)` int64, as a last layer needs; the queries of all other
        rows are undefined. Without gradients only.
    dtype
        Dtype of the result; by default that of the matrices.
    backend
        ``"triton"``: one kernel, for half precision on NVIDIA GPUs, rows of 32, 64, 96, 128 or 192
        features. The result for an image is bitwise independent of the rest of the batch.
        ``"torch"``: PyTorch's own operators.
        None for ``"triton"`` if possible.

    Returns
    -------
    Tensor
        `(T, 3 D)` in `dtype`.

    Raises
    ------
    ValueError
        For inconsistent shapes, or if ``"triton"`` is not available; the message says why.

    Examples
    --------
    >>> import torch
    >>> from zoo.kernels import LayerWeights, norm_qkv
    >>> def weights(dim=32, hidden=64):
    ...     shapes = [(3 * dim, dim), (dim, dim), (dim,), (hidden, dim), (dim, hidden), (dim,)]
    ...     pairs = [(torch.randn(s), torch.zeros(s[0])) for s in shapes]
    ...     return LayerWeights(*[tensor for pair in pairs for tensor in pair], eps=1e-5)
    >>> norm_qkv(torch.randn(8, 32), weights()).shape
    torch.Size([8, 96])
    """
    weights = _lowered(x, weights, QKV_FIELDS)
    if weights.qkv_weight.shape != (3 * x.shape[1], x.shape[1]):
        raise ValueError(
            f"the rows have {x.shape[1]} features, but the projection to queries, keys and values "
            f"has the shape {tuple(weights.qkv_weight.shape)}"
        )
    parameters = tuple(getattr(weights, name) for name in QKV_FIELDS)
    dtype = dtype or weights.qkv_weight.dtype
    if query_rows is not None and _needs_gradient(x, *parameters):
        query_rows = None
    with no_autocast(x.device.type):
        if takes_triton(backend, why_not(x, weights.qkv_weight.dtype, len(weights.up_weight))):
            projected: Tensor = call_directly(
                op.norm_qkv, x.contiguous(), *parameters, weights.eps, query_rows, dtype
            )
            return projected
        return _norm_qkv(x, weights, query_rows).to(dtype)


def residual_mlp(
    x: Tensor, mixed: Tensor, weights: LayerWeights, *, backend: str | None = None
) -> Tensor:
    """Finish a layer: output projection, residual, norm1, MLP with ReLU, residual, norm2.

    ``y = norm1(x + out(mixed))``, then ``norm2(y + down(relu(up(y))))``: ChAda-ViT applies norm1
    a second time here, and norm2 after the second residual (Bourriez et al., CVPR 2024, and the
    published code).

    Parameters
    ----------
    x
        Rows of the residual stream before the layer, `(T, D)`, float32 or wider.
    mixed
        Output of the attention with its heads side by side, `(T, D)`.
    weights, backend
        As for `norm_qkv`. The hidden activations stay on the chip.

    Returns
    -------
    Tensor
        `(T, D)` in the type of `x`.

    Raises
    ------
    ValueError
        For inconsistent shapes, or if ``"triton"`` is not available; the message says why.

    Examples
    --------
    >>> import torch
    >>> from zoo.kernels import LayerWeights, residual_mlp
    >>> def weights(dim=32, hidden=64):
    ...     shapes = [(3 * dim, dim), (dim, dim), (dim,), (hidden, dim), (dim, hidden), (dim,)]
    ...     pairs = [(torch.randn(s), torch.zeros(s[0])) for s in shapes]
    ...     return LayerWeights(*[tensor for pair in pairs for tensor in pair], eps=1e-5)
    >>> residual_mlp(torch.randn(8, 32), torch.randn(8, 32), weights()).shape
    torch.Size([8, 32])
    """
    weights = _lowered(x, weights, MLP_FIELDS)
    hidden, dim = weights.up_weight.shape
    if x.shape != mixed.shape or x.shape[1] != dim or weights.down_weight.shape != (dim, hidden):
        raise ValueError(
            f"rows {tuple(x.shape)} and attention {tuple(mixed.shape)} do not fit an MLP of "
            f"{dim} features and {hidden} hidden units"
        )
    mixed = mixed.to(weights.out_weight.dtype)
    with no_autocast(x.device.type):
        if takes_triton(backend, why_not(x, weights.up_weight.dtype, hidden)):
            finished: Tensor = call_directly(
                op.residual_mlp, x.contiguous(), mixed.contiguous(), *weights[2:]
            )
            return finished
        return _residual_mlp(x, mixed, weights)


def takes_triton(backend: str | None, refused: str | None) -> bool:
    """Choose the backend, given the reason why the kernels are not available, if any."""
    if backend not in (None, *BACKENDS):
        raise ValueError(f"backend is {backend!r}, but must be one of {', '.join(BACKENDS)}")
    if backend == "triton" and refused is not None:
        raise ValueError(f"backend 'triton' cannot be taken: {refused}")
    return backend != "torch" and refused is None


def _lowered(x: Tensor, weights: LayerWeights, fields: tuple[str, ...]) -> LayerWeights:
    """Cast matrices to the dtype of products, and the rest to that of the residual stream."""
    kind = x.device.type
    low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    cast: dict[str, Any] = {}
    for name in fields:
        tensor: Tensor = getattr(weights, name)
        dtype = x.dtype
        if name in MATRICES:
            dtype = tensor.dtype if low is None or tensor.dtype != torch.float32 else low
        if tensor.dtype != dtype:
            cast[name] = tensor.to(dtype)
    return weights._replace(**cast) if cast else weights


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Project rows, with operands rounded to the type of the weight and sums in that of the bias.

    CPUs multiply half precision slowly or not at all, so rounded operands are multiplied in
    float32 there, as tensor cores do.
    """
    if weight.dtype == bias.dtype:
        return F.linear(x, weight, bias)
    x = x.to(weight.dtype)
    if x.device.type == "cpu":
        return F.linear(x.to(bias.dtype), weight.to(bias.dtype), bias)
    return F.linear(x, weight) + bias


def _norm_qkv(x: Tensor, weights: LayerWeights, query_rows: Tensor | None) -> Tensor:
    weight, bias = weights.qkv_weight, weights.qkv_bias
    dim = x.shape[1]
    normal = F.layer_norm(x, (dim,), weights.norm1_weight, weights.norm1_bias, weights.eps)
    if weight.dtype != bias.dtype or _needs_gradient(x, *weights[:-1]):
        return linear(normal, weight, bias)
    if query_rows is None or torch.compiler.is_compiling():  # which cannot write to a part
        return cpu.linear(normal, weight, bias)
    qkv = x.new_empty((x.shape[0], 3 * dim))
    torch.addmm(bias[dim:], normal, weight[dim:].T, out=qkv[:, dim:])
    qkv[query_rows, :dim] = F.linear(normal[query_rows], weight[:dim], bias[:dim])
    return qkv


def _residual_mlp(x: Tensor, mixed: Tensor, weights: LayerWeights) -> Tensor:
    shape, eps = x.shape[1:], weights.eps
    norm1 = (weights.norm1_weight, weights.norm1_bias)
    norm2 = (weights.norm2_weight, weights.norm2_bias)
    out = (weights.out_weight, weights.out_bias)
    up, down = (weights.up_weight, weights.up_bias), (weights.down_weight, weights.down_bias)
    lowered = weights.up_weight.dtype != x.dtype
    if lowered or x.device.type != "cpu" or _needs_gradient(x, mixed, *weights[:-1]):
        y = F.layer_norm(x + linear(mixed, *out), shape, *norm1, eps)
        hidden = F.relu(linear(y, *up), inplace=True)
        return F.layer_norm(y + linear(hidden, *down), shape, *norm2, eps)
    y = F.layer_norm(cpu.linear_add(mixed, *out, x), shape, *norm1, eps)
    z = torch.empty_like(y)
    step = max(1, HIDDEN_AT_ONCE // len(weights.up_bias))
    for rows, result in zip(y.split(step), z.split(step), strict=True):
        result.copy_(cpu.linear_add(cpu.linear_relu(rows, *up), *down, rows))
    return F.layer_norm(z, shape, *norm2, eps)
