"""How far two embeddings of the same items agree, such as a trained one and its untrained twin."""

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
    """Rank correlation of the cosines of all pairs of items (Kriegeskorte and others, 2008).

    1 for embeddings that order all pairs alike, as rotated and scaled copies do; 0 on average for
    independent ones; 0 if all cosines of one embedding are equal.

    Parameters
    ----------
    first, second
        `(N, D)` and `(N, E)`, the same items in the same order, three or more. Cosines are taken
        from the origin: subtract a mean first if its direction shall not count.
    exact_rows
        Up to so many items all pairs are taken. Beyond, `pairs` pairs of different items are drawn
        with replacement, which adds a standard error of about 1/sqrt(`pairs`).
    pairs, seed
        Number of pairs drawn, and where the draw starts.

    Raises
    ------
    ValueError
        For embeddings of different items, too few of them, and NaN or infinite numbers.
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
    """Linear centred kernel alignment (Kornblith and others, 2019), from sums over rows.

    1 for embeddings that are rotated, shifted or scaled copies; 0 if one of them is constant. By
    chance the plain form is not 0: for independent isotropic embeddings it is about
    sqrt(D·E/((N + D)(N + E))), which nears 1 where dimensions outnumber items. The unbiased form
    is 0 by chance, on average, and so can fall below it.

    Parameters
    ----------
    first, second
        `(N, D)` and `(N, E)`, the same items in the same order.
    unbiased
        Estimate the dependence without the terms of each item with itself (Song and others, 2012,
        equation 5), which needs four items; the plain form needs two.

    Raises
    ------
    ValueError
        For embeddings of different items, too few of them, and NaN or infinite numbers.
    """
    _check_pair(first, second, 4 if unbiased else 2)
    a, b = centred(first), centred(second)
    dependence = _hsic_unbiased if unbiased else _hsic
    # Scaled first, because fourth powers of small numbers would vanish.
    a, b = (x / max(float(np.sqrt((x**2).mean())), np.finfo(float).tiny) for x in (a, b))
    spread = dependence(a, a) * dependence(b, b)
    return float(dependence(a, b) / np.sqrt(spread)) if spread > 0 else 0.0


def _hsic(a: Array, b: Array) -> float:
    return float(((a.T @ b) ** 2).sum())


def _hsic_unbiased(a: Array, b: Array) -> float:
    """Apply equation 5 to kernels a·aᵀ and b·bᵀ whose diagonals are left out, up to n(n − 3)."""
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
    # Equal cosines must tie, whatever rounding did to them.
    return found.round(12)


def _check_pair(first: Array, second: Array, least: int) -> None:
    check_matrix(first, "the first embedding")
    check_matrix(second, "the second embedding", rows=len(first))
    if len(first) < least:
        raise ValueError(f"agreement needs {least} items or more, but there are {len(first)}")
