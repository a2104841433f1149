"""Cut planes into square patches, and join patches to planes."""

from torch import Tensor


def cut_patches(planes: Tensor, patch: int) -> Tensor:
    """Cut planes `(N, H, W)` into patches `(N, P, patch²)`, both row-major."""
    n, height, width = planes.shape
    squares = planes.reshape(n, height // patch, patch, width // patch, patch).transpose(2, 3)
    return squares.reshape(n, -1, patch * patch)


def join_patches(patches: Tensor, height: int, width: int) -> Tensor:
    """Join the patches of `cut_patches` to planes `(N, height, width)`."""
    n, patch = len(patches), round(patches.shape[2] ** 0.5)
    squares = patches.view(n, height // patch, width // patch, patch, patch).transpose(2, 3)
    return squares.reshape(n, height, width)
