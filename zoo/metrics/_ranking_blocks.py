"""Blocks of queries, and what NumPy and PyTorch count in them alike."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._pairs import Pairs

Array = NDArray[Any]
COARSE = 2.0**30
"""Similarities are screened as whole numbers of one part in this."""
EXCLUDED = int(np.iinfo(np.int32).min)
"""Similarity of what is no negative of a query: below all others."""


class Block(NamedTuple):
    """Queries that share a pool of possible negatives, with the positives of each.

    Positives are listed as `row`, the place of their query, and `column`, their own; `value` is
    their coarse similarity. Of `pool`, None is every profile.
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
    """Return who is no negative of whom, `(queries, pool)`.

    Parameters
    ----------
    codes
        Columns of the table as arrays.
    columns, index
        The same columns where the result shall be, and how arrays of places get there.
    """
    queries = index(block.queries)
    pool = slice(None) if block.pool is None else index(block.pool)
    label = columns[pairs.label]
    excluded = label[queries][:, None] == label[pool]
    for name in pairs.neg_diffby:
        excluded |= columns[name][queries][:, None] == columns[name][pool]
    if (beside := pairs.beside_positives) is not None:
        code = codes[beside]
        lacking = np.ones((len(block.queries), int(code.max()) + 1), bool)
        lacking[block.row, code[block.column]] = False
        if beside in pairs.neg_diffby:  # excluded already
            lacking[np.arange(len(lacking)), code[block.queries]] = False
        some = np.flatnonzero(lacking.any(1))
        if len(some):
            excluded[index(some)] |= index(lacking[some])[:, columns[beside][pool]]
    return excluded


def count_below(ranked: Any, row: Any, value: Any) -> Any:
    """Count what is below each value in its sorted row; arrays and tensors alike."""
    items = ranked.shape[1]
    below = 0 * row
    step = 1 << max(0, items.bit_length() - 1)
    while step and items:
        tried = below + step
        fits = ranked[row, tried.clip(max=items) - 1] < value
        below += step * (fits & (tried <= items))
        step //= 2
    return below
