"""What attention must give before it is timed: a loop over images in float64, and a limit."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def attention(qkv: Tensor, lengths: Sequence[int], grad: Tensor | None = None) -> Tensor:
    """Attend plainly, image by image, in the arithmetic of `qkv`.

    Returns the output, `(T, H, d)`, or the gradient of `qkv` where one of the output is given.
    """
    grads = [None] * len(lengths) if grad is None else grad.split(list(lengths))
    parts = []
    for image, upstream in zip(qkv.split(list(lengths)), grads, strict=True):
        q, k, v = image.permute(1, 2, 0, 3)  # each (H, n, d)
        weights = torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, dim=-1)
        if upstream is None:
            parts.append((weights @ v).transpose(0, 1))
            continue
        given = upstream.transpose(0, 1)
        slope = given @ v.mT
        slope = weights * (slope - (weights * slope).sum(-1, keepdim=True))
        slope = slope * q.shape[-1] ** -0.5
        three = (slope @ k, slope.mT @ q, weights.mT @ given)
        parts.append(torch.stack(three).permute(2, 0, 1, 3))
    return torch.cat(parts)


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Return ‖found - wanted‖ / ‖wanted‖."""
    return ((found.double() - wanted).norm() / wanted.norm()).item()


def poison(*like: Tensor) -> None:
    """Leave NaN in the memory that is handed out next, so that a row never written shows."""
    for tensor in like:
        torch.full_like(tensor, torch.nan)


@dataclass(frozen=True)
class Gate:
    """The right answer for one batch, and the largest relative error that passes."""

    wanted: Tensor
    limit: float

    @classmethod
    def of(cls, qkv: Tensor, lengths: Sequence[int], grad: Tensor | None = None) -> "Gate":
        """Compute the answer; the limit is twice the error of plain PyTorch in that dtype."""
        wide = None if grad is None else grad.double()
        wanted = attention(qkv.double(), lengths, wide)
        return cls(wanted, 2 * relative_error(attention(qkv, lengths, grad), wanted))

    def refuse(self, found: Tensor) -> str | None:
        """Say what is wrong with an answer, or None."""
        if found.shape != self.wanted.shape:
            return f"its shape is {tuple(found.shape)}, not {tuple(self.wanted.shape)}"
        error = relative_error(found, self.wanted)
        if error <= self.limit:  # which NaN is not
            return None
        return f"its relative error is {error:.1e}, and {self.limit:.1e} is the most"
