"""Counts in blocks of queries by PyTorch; `_ranking.NumpyScreen` is the same by NumPy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ._pairs import Pairs
from ._ranking_blocks import COARSE, EXCLUDED, Block, count_below, excluded_from
from ._torch_defaults import with_torch_defaults

Array = NDArray[Any]
ENTRIES_ON_GPU = 2**25
"""Similarities that a GPU holds at once."""


class TorchScreen:
    """Directions and columns on a device, and counts there."""

    def __init__(
        self, device: torch.device, directions: Array, codes: dict[str, Array], pairs: Pairs
    ) -> None:
        self.device, self.codes, self.pairs = device, codes, pairs
        self.columns = {name: self.moved(values) for name, values in codes.items()}
        self.directions = self.moved(directions)
        self.entries = ENTRIES_ON_GPU if device.type == "cuda" else None

    def excluded(self, block: Block) -> torch.Tensor:
        found: torch.Tensor = excluded_from(block, self.pairs, self.codes, self.columns, self.moved)
        return found

    def count_true(self, table: torch.Tensor) -> Array:
        return np.asarray(table.sum(1).cpu())

    @with_torch_defaults
    def counts(
        self, block: Block, excluded: torch.Tensor, row: Array, value: Array
    ) -> tuple[Array, Array]:
        pool = slice(None) if block.pool is None else self.moved(block.pool)
        near = self.directions[self.moved(block.queries)] @ self.directions[pool].T
        near = near.mul_(COARSE).round_().to(torch.int32).masked_fill_(excluded, EXCLUDED)
        near = near.sort(dim=1).values
        rows, values = self.moved(row), self.moved(value)
        above = near.shape[1] - count_below(near, rows, values + 2)
        reached = near.shape[1] - count_below(near, rows, values - 1)
        return above.cpu().numpy(), reached.cpu().numpy()

    def moved(self, values: Array) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)
