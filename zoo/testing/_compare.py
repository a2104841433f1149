"""Compare embeddings, and say by how much they differ."""

from torch import Tensor

from ._promise import BrokenPromiseError

# Matrix products of other shapes sum in another order: 1e-4 is generous for float32.
OTHER_SHAPES = 1e-4
# Rows of equal products in another place.
OTHER_PLACES = 2e-4
# The same products with other numbers in other rows: the same sums, to the bit on most machines.
SAME_SHAPES = 2e-6


def difference(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference, as a share of the largest number; infinite for NaN."""
    if found.shape != wanted.shape:
        return float("inf")
    if found.numel() == 0:
        return 0.0
    scale = max(float(wanted.abs().max()), 1e-12)
    worst = float((found - wanted).abs().max()) / scale
    return worst if worst == worst else float("inf")


def same(found: Tensor, wanted: Tensor, most: float, what: str) -> None:
    """Raise `BrokenPromiseError` unless embeddings agree."""
    if found.shape != wanted.shape:
        raise BrokenPromiseError(f"{what}: shapes {tuple(found.shape)} and {tuple(wanted.shape)}")
    worst = difference(found, wanted)
    if worst > most:
        raise BrokenPromiseError(f"{what}: they differ by {worst:.1e} of the largest number")
