"""Blocks of queries, and counts in them that NumPy and PyTorch share."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._pairs import Pairs

Array = NDArray[Any]
COARSE = 2.0**30
"""Steps per unit of similarity on the coarse grid."""
EXCLUDED = int(np.iinfo(np.int32).min)
"""Similarity of profiles that are not negatives of a query: below all others."""


class Block(NamedTuple):
    """Queries that share a pool of possible negatives, with the positives of each.

    Positives are listed by `row`, the place of their query, and `column`, their own index; `value`
    is their similarity on the coarse grid. A `pool` of None is every profile.
    """

    queries: Array
    pool: Array | None
    rows: Array
    row: Array
    column: Array
    value: Array


def excluded_from(
    block: Block,
    pairs: Pairs,
    codes: dict[str, Array],
    columns: dict[str, Any],
    index: Any = np.asarray,
) -> Any:
    """Which profiles of the pool are not negatives of a query, `(queries, pool)`.

    Parameters
    ----------
    codes
        Columns of the table as arrays.
    columns, index
        The same columns on the device of the result, and what moves index arrays there.
    """
    queries = index(block.queries)
    pool = slice(None) if block.pool is None else index(block.pool)
    label = columns[pairs.label]
    excluded = label[queries][:, None] == label[pool]
    for name in pairs.neg_diffby:
        excluded |= columns[name][queries][:, None] == columns[name][pool]
    if (column := pairs.neg_sameby_positives) is not None:
        code = codes[column]
        lacking = np.ones((len(block.queries), int(code.max()) + 1), bool)
        lacking[block.row, code[block.column]] = False
        if column in pairs.neg_diffby:  # excluded already
            lacking[np.arange(len(lacking)), code[block.queries]] = False
        some = np.flatnonzero(lacking.any(1))
        if len(some):
            excluded[index(some)] |= index(lacking[some])[:, columns[column][pool]]
    return excluded


def count_below(ranked: Any, row: Any, value: Any) -> Any:
    """Entries below each value in its sorted row, for arrays and tensors."""
    items = ranked.shape[1]
    below = 0 * row
    step = 1 << max(0, items.bit_length() - 1)
    while step and items:
        tried = below + step
        fits = ranked[row, tried.clip(max=items) - 1] < value
        below += step * (fits & (tried <= items))
        step //= 2
    return below
