"""LISI: the effective number of batches or labels among the neighbours of an item."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._blocks import ROWS, blocks_of
from ._distances import codes_of, neighbours_of, tally

Array = NDArray[Any]


def lisi(
    indices: Array,
    distances: Array,
    groups: Array,
    *,
    perplexity: float | None = None,
    rows: int = ROWS,
) -> NDArray[np.float64]:
    """Local inverse Simpson index: the effective number of groups around every item.

    From 1 to the number of groups, which well mixed groups of equal size come near to. Neighbours
    are weighted by exp(−β d), where β gives the weights the perplexity (Korsunsky et al., 2019).
    Neighbours at the same distance have the same weight, so more ties than the perplexity all count
    equally. Multiplying all distances by a number changes nothing.

    Parameters
    ----------
    indices, distances
        `(N, k)` nearest other items of each item, and their distances.
    groups
        `(N,)` labels or batches.
    perplexity
        Effective number of neighbours; k // 3 by default.
    rows
        Items in a block, which bounds the memory and does not change the result.

    Returns
    -------
    ndarray
        `(N,)`.

    Raises
    ------
    ValueError
        For indices that are no neighbours, shapes that do not fit, distances that are not finite,
        and a perplexity below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import lisi, nearest_neighbours
    >>> embedding = np.random.default_rng(0).normal(size=(300, 8))
    >>> batches = np.arange(300) % 2
    >>> indices, distances = nearest_neighbours(embedding, 60)
    >>> round(float(np.median(lisi(indices, distances, batches))), 1)
    1.9
    """
    near = neighbours_of(indices)
    if np.shape(distances) != near.shape or not np.isfinite(distances).all():
        raise ValueError(f"distances must be finite and of shape {near.shape}")
    codes = codes_of(groups, len(near), "groups")
    perplexity = max(1, near.shape[1] // 3) if perplexity is None else perplexity
    if perplexity < 1:
        raise ValueError(f"perplexity must be at least 1, not {perplexity}")
    count = int(codes.max()) + 1
    index = np.empty(len(near))
    for block in blocks_of(len(near), rows):
        weights = _weights(distances[block].astype(np.float64), perplexity)
        shares = tally(codes[near[block]], count, weights)
        index[block] = 1 / (shares**2).sum(1)
    return index


def ilisi(index: Array, batches: Array) -> float:
    """Median LISI of batches, scaled to (median − 1)/(batches − 1): 1 is mixed, 0 is apart.

    The integration LISI as scIB scales it (Luecken et al., 2022).

    Parameters
    ----------
    index
        `(N,)`, `lisi` of the batches.
    batches
        `(N,)`.

    Returns
    -------
    float
        In [0, 1]; NaN if there is only one batch.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import ilisi, lisi, nearest_neighbours
    >>> embedding = np.random.default_rng(0).normal(size=(300, 8))
    >>> batches = np.arange(300) % 2
    >>> indices, distances = nearest_neighbours(embedding, 60)
    >>> round(ilisi(lisi(indices, distances, batches), batches), 1)
    0.9
    """
    count = len(np.unique(batches))
    return float((np.median(index) - 1) / (count - 1)) if count > 1 else float("nan")


def clisi(index: Array, labels: Array) -> float:
    """1 − (median LISI of labels − 1)/(labels − 1): 1 is apart, 0 is mixed.

    The cell-type LISI, oriented as in scIB so that higher is better (Luecken et al., 2022).

    Parameters
    ----------
    index
        `(N,)`, `lisi` of the labels.
    labels
        `(N,)`.

    Returns
    -------
    float
        In [0, 1], near 0 by chance; NaN if there is only one label.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import clisi, lisi, nearest_neighbours
    >>> labels = np.arange(300) % 2
    >>> embedding = np.random.default_rng(0).normal(size=(300, 8)) + 4 * labels[:, None]
    >>> indices, distances = nearest_neighbours(embedding, 60, metric="euclidean")
    >>> round(clisi(lisi(indices, distances, labels), labels), 1)
    1.0
    """
    return 1 - ilisi(index, labels)


def _weights(distances: Array, perplexity: float) -> NDArray[np.float64]:
    """Weights exp(−β d) that sum to 1 in each row, with β by bisection on the entropy."""
    gaps = distances - distances.min(1, keepdims=True)
    # Entropy does not depend on the unit of distance; in this unit β is near 1.
    unit = gaps.mean(1, keepdims=True)
    gaps /= np.where(unit > 0, unit, 1.0)
    beta = np.ones((len(gaps), 1))
    low, high = np.zeros_like(beta), np.full_like(beta, np.inf)
    wanted = np.log(perplexity)
    for _ in range(64):
        weights = np.exp(-gaps * beta)
        total = weights.sum(1, keepdims=True)
        excess = np.log(total) + beta * (gaps * weights).sum(1, keepdims=True) / total - wanted
        # Rows stop one by one, so that the result of a row does not depend on its block.
        pending = np.abs(excess) > 1e-9
        if not pending.any():
            break
        low, high = np.where(excess > 0, beta, low), np.where(excess > 0, high, beta)
        middle = np.where(np.isinf(high), 2 * low, (low + np.where(np.isinf(high), 0, high)) / 2)
        beta = np.where(pending, middle, beta)
    weights = np.exp(-gaps * beta)
    return weights / weights.sum(1, keepdims=True)
