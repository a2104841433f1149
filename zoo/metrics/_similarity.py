"""Similarity of two embeddings of the same items, such as a trained and an untrained encoder's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._blocks import CHUNK, blocks_of
from ._matrix import centred, check_matrix, unit_rows
from ._scores import spearman

Array = NDArray[Any]
EXACT_ROWS = 1500
SAMPLED_PAIRS = 1_000_000


def rsa(
    first: Array,
    second: Array,
    *,
    exact_rows: int = EXACT_ROWS,
    pairs: int = SAMPLED_PAIRS,
    seed: int = 0,
) -> float:
    """Representational similarity: rank correlation of the cosines of all pairs, in [-1, 1].

    0 on average for independent embeddings, and 1 for those that order all pairs alike, as rotated
    and scaled copies do (Kriegeskorte, Mur and Bandettini, 2008). 0 if all cosines of one embedding
    are equal.

    Parameters
    ----------
    first, second
        `(N, D)` and `(N, E)`, three or more items in the same order. Cosines are taken from the
        origin: subtract the mean first if its direction should not count.
    exact_rows
        Up to this many items all pairs count. Beyond, `pairs` pairs of different items are drawn
        with replacement, which adds a standard error of about 1/sqrt(`pairs`).
    pairs, seed
        How many pairs are drawn, and the seed.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For different numbers of items, too few of them, and NaN or infinite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import rsa
    >>> first = np.random.default_rng(0).normal(size=(30, 5))
    >>> round(rsa(first, 2 * first[:, ::-1]), 3)
    1.0
    """
    _check_pair(first, second, 3)
    n = len(first)
    if n <= exact_rows:
        i, j = np.triu_indices(n, 1)
    else:
        rng = np.random.default_rng(seed)
        i, j = rng.integers(n, size=pairs), rng.integers(n - 1, size=pairs)
        j = j + (j >= i)
    return spearman(_cosines(first, i, j), _cosines(second, i, j))


def cka(first: Array, second: Array, *, unbiased: bool = False) -> float:
    """Linear centred kernel alignment (Kornblith et al., 2019), at most 1.

    1 for rotated, shifted or scaled copies; 0 if one embedding is constant. The plain form is at
    least 0 and does not have a chance level of 0: for independent isotropic embeddings it is about
    sqrt(D·E/((N + D)(N + E))), which nears 1 where dimensions outnumber items. The unbiased form is
    0 by chance on average, so it can fall below 0.

    Parameters
    ----------
    first, second
        `(N, D)` and `(N, E)`, the same items in the same order.
    unbiased
        Leave out the terms of each item with itself (Song et al., 2012, equation 5), which needs
        four items; the plain form needs two.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For different numbers of items, too few of them, and NaN or infinite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import cka
    >>> rng = np.random.default_rng(0)
    >>> first, second = rng.normal(size=(2, 200, 5))
    >>> round(cka(first, 3 * first + 1), 3)
    1.0
    >>> abs(cka(first, second, unbiased=True)) < 0.02
    True
    """
    _check_pair(first, second, 4 if unbiased else 2)
    a, b = centred(first), centred(second)
    dependence = _hsic_unbiased if unbiased else _hsic
    # Scaled first, because fourth powers of small numbers would underflow.
    a, b = (x / max(float(np.sqrt((x**2).mean())), np.finfo(float).tiny) for x in (a, b))
    spread = dependence(a, a) * dependence(b, b)
    return float(dependence(a, b) / np.sqrt(spread)) if spread > 0 else 0.0


def _hsic(a: Array, b: Array) -> float:
    return float(((a.T @ b) ** 2).sum())


def _hsic_unbiased(a: Array, b: Array) -> float:
    """Equation 5 for kernels a·aᵀ and b·bᵀ without their diagonals, up to n(n − 3)."""
    n = len(a)
    own_a, own_b = (a**2).sum(1), (b**2).sum(1)
    row_a, row_b = a @ a.sum(0) - own_a, b @ b.sum(0) - own_b
    together = ((a.T @ b) ** 2).sum() - own_a @ own_b
    apart = row_a.sum() * row_b.sum() / ((n - 1) * (n - 2))
    return float(together + apart - 2 / (n - 2) * (row_a @ row_b))


def _cosines(embedding: Array, i: Array, j: Array) -> Array:
    unit = unit_rows(embedding)
    found = np.empty(len(i))
    for part in blocks_of(len(i), CHUNK):
        found[part] = np.einsum("nd,nd->n", unit[i[part]], unit[j[part]])
    # Cosines that are equal up to rounding must tie.
    return found.round(12)


def _check_pair(first: Array, second: Array, least: int) -> None:
    check_matrix(first, "the first embedding")
    check_matrix(second, "the second embedding", rows=len(first))
    if len(first) < least:
        raise ValueError(f"at least {least} items are needed, but there are {len(first)}")
