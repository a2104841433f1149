"""Packed rows of images, padded to equal lengths and back."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Padding:
    """A batch of images padded to `longest` rows.

    `bias`, `(B, 1, 1, N)`, is added to the scores so that no row attends to a padded one; it is
    made once for all layers.
    """

    def __init__(
        self, lengths: Sequence[int], longest: int, dtype: torch.dtype, device: str
    ) -> None:
        places = torch.arange(longest, device=device)
        self.real = places < torch.tensor(lengths, device=device)[:, None]  # (B, N)
        hidden = torch.zeros(self.real.shape, dtype=dtype, device=device)
        self.bias = hidden.masked_fill(~self.real, -torch.inf)[:, None, None]

    def enter(self, rows: Tensor, *, noise: bool) -> Tensor:
        """Return `(B, N, ...)` from packed rows; padding is noise, as in a network, or zero."""
        shape = (*self.real.shape, *rows.shape[1:])
        dense = rows.new_zeros(shape)
        if noise:
            dense.normal_()
        dense[self.real] = rows
        return dense

    def leave(self, dense: Tensor) -> Tensor:
        """Return the packed rows."""
        return dense[self.real]
