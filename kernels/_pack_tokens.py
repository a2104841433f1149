"""From planes to packed tokens: patches, their projection, position, channel, and CLS rows."""

import torch
from torch import Tensor

from ._autocast import no_autocast
from ._fused_layer import linear, takes_triton
from ._operators import call_directly
from ._patches import cut_patches
from ._token_layout import TokenLayout

try:
    from . import _pack_tokens_op as op
    from ._pack_tokens_op import why_not
except ModuleNotFoundError as missing:
    if missing.name != "triton":
        raise
    from ._fused_layer import why_not


def pack_tokens(
    planes: Tensor,
    layout: TokenLayout,
    weight: Tensor,
    bias: Tensor,
    *,
    position: Tensor,
    channel: Tensor,
    first: Tensor,
    patch: int,
    backend: str | None = None,
) -> Tensor:
    """Cut planes into patches, embed them, and write each to its row of the packed batch.

    Parameters
    ----------
    planes
        `(N, H, W)`, floating, any strides; H and W are multiples of `patch`.
    layout
        Rows of the tokens.
    weight, bias
        Projection of a patch, row-major pixels: `(D, patch²)`, `(D,)`. Under autocast it is
        lowered.
    position, channel
        Embedding of each patch position, `(P, D)`, and of each channel index, `(places, D)`.
    first
        First row of every image (CLS), `(D,)`; its dtype is that of the result.
    patch
        Side of a patch in pixels.
    backend
        As for `norm_qkv`.

    Returns
    -------
    Tensor
        `(layout.rows, D)`. Rows that belong to no image are undefined.

    Raises
    ------
    ValueError, TypeError
        For inconsistent planes, layout and embeddings, or if ``"triton"`` is not available.

    Examples
    --------
    >>> import torch
    >>> from zoo.kernels import TokenLayout, pack_tokens
    >>> layout = TokenLayout.from_counts([1, 2], [0, 0, 1], patches=4)
    >>> rows = pack_tokens(
    ...     torch.rand(3, 32, 32),  # three planes of four patches
    ...     layout,
    ...     torch.randn(24, 256),
    ...     torch.zeros(24),
    ...     position=torch.randn(4, 24),
    ...     channel=torch.randn(2, 24),
    ...     first=torch.zeros(24),
    ...     patch=16,
    ... )
    >>> rows.shape  # for each image one row, and four for each of its planes
    torch.Size([14, 24])
    """
    _check(planes, layout, position, patch)
    kind = planes.device.type
    if torch.is_autocast_enabled(kind) and weight.dtype == torch.float32:
        weight = weight.to(torch.get_autocast_dtype(kind))
    with no_autocast(kind):
        if takes_triton(backend, why_not(first[None], weight.dtype)):
            packed: Tensor = call_directly(
                op.pack_tokens, planes, weight.contiguous(), bias, position.contiguous(),
                channel.contiguous(), first, layout.planes, layout.plan.cu_seqlens, layout.rows,
                patch,
            )  # fmt: skip
            return packed
        return _pack(planes, layout, weight, bias, position, channel, first, patch)


def _check(planes: Tensor, layout: TokenLayout, position: Tensor, patch: int) -> None:
    if planes.ndim != 3:
        raise ValueError(f"planes have the shape {tuple(planes.shape)}, not (N, H, W)")
    if not planes.is_floating_point():
        raise TypeError(f"planes are {planes.dtype}, but must be floating")
    n, height, width = planes.shape
    if height % patch or width % patch:
        raise ValueError(
            f"planes of {height} × {width} pixels cannot be cut into patches of {patch} × {patch}"
        )
    cut = (height // patch) * (width // patch)
    if not cut == layout.patches == len(position):
        raise ValueError(
            f"planes of {height} × {width} pixels have {cut} patches, but the layout is for "
            f"{layout.patches} and there are positions for {len(position)}"
        )
    if n != len(layout.planes):
        raise ValueError(f"there are {n} planes, but the layout is for {len(layout.planes)}")
    for what, other in (("the layout", layout.planes), ("the embeddings", position)):
        if other.device != planes.device:
            raise ValueError(f"planes are on {planes.device}, but {what} on {other.device}")


def _pack(
    planes: Tensor,
    layout: TokenLayout,
    weight: Tensor,
    bias: Tensor,
    position: Tensor,
    channel: Tensor,
    first: Tensor,
    patch: int,
) -> Tensor:
    # All of the room, and no number of this batch: a recording would keep it for other batches.
    firsts, rows = layout.rows_of_room()
    # Zeros, for what lies in missing planes must reach no gradient.
    missing = layout.planes[:, :1, None] < 0  # (N, 1, 1)
    pixels = cut_patches(torch.where(missing, 0, planes), patch).to(weight.dtype)
    tokens = linear(pixels, weight, bias).to(first.dtype) + position  # (N, P, D)
    tokens = tokens + channel[layout.planes[:, 1:].long()]
    x = first.new_empty(layout.rows + 1, len(first))
    x[firsts] = first
    x[rows.flatten()] = tokens.flatten(0, 1)
    return x[: layout.rows]
