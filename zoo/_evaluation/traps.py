"""What makes a score mean something else: copies in several groups, and labels told by a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import Design

from ..metrics._matrix import standardise
from ..metrics._neighbours import nearest_neighbours
from .contenders import Contender

# A copy is nearer to an item of another group than this share of the distance of neighbours within
# a group.
COPY = 0.05
SAMPLED = 2000
DETERMINED = 0.9
SEEING = ("statistics", "untrained")


def copies_across_groups(
    contenders: Mapping[str, Contender], groups: NDArray[Any], *, images: bool
) -> list[NDArray[np.intp]]:
    """Find items of different groups that are copies or near copies of each other.

    The embedding of the encoder must find the items far nearer to each other than neighbours within
    a group. If there are `images`, so must the controls that see whole images: a perfect encoder
    gives equal embeddings to replicates, which pixel statistics tell apart.

    Returns
    -------
    list of ndarray
        Rows of each set of copies.
    """
    first, *others = contenders.values()
    matrices = [first.embeddings[0].matrix]
    seeing = [c for c in others if images and c.spec.control in SEEING]
    matrices += [c.embeddings[0].matrix for c in seeing]
    near = _near(matrices[0], groups)
    for matrix in matrices[1:]:
        if not near:
            break
        near &= _near(matrix, groups)
    return _clusters(sorted(near), len(groups)) if near else []


def _near(matrix: NDArray[Any], groups: NDArray[Any]) -> set[tuple[int, int]]:
    """Pairs of rows of different groups that are far nearer than neighbours within a group."""
    rows, _ = standardise(matrix, matrix[:0])
    apart: list[float] = []
    for group in pd.unique(groups):
        inside = rows[groups == group]
        if len(inside) > 1 and len(apart) < SAMPLED:
            apart += nearest_neighbours(inside, 1, metric="euclidean")[1][:, 0].tolist()
    place, distance = nearest_neighbours(rows, 1, metric="euclidean", exclude=groups)
    # Where every item is a group of its own, copies are those far nearer than most.
    limit = COPY * float(np.median(apart or distance))
    close = np.flatnonzero(distance[:, 0] < limit).tolist()
    return {(min(i, j), max(i, j)) for i, j in zip(close, place[close, 0].tolist(), strict=True)}


def _clusters(pairs: Sequence[tuple[int, int]], n: int) -> list[NDArray[np.intp]]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    at = np.array(pairs)
    graph = coo_array((np.ones(len(at)), (at[:, 0], at[:, 1])), shape=(n, n))
    label = connected_components(graph, directed=False)[1]
    return [np.flatnonzero(label == one) for one in np.unique(label[at[:, 0]])]


def copies_warning(copies: Sequence[NDArray[np.intp]], group: str) -> str:
    """Say which items are copies."""
    count = sum(len(rows) for rows in copies)
    some = "; ".join(" and ".join(map(str, rows[:4])) for rows in copies[:3])
    more = ", …" if len(copies) > 3 else ""
    return (
        f"{count} items are copies or near copies of items in other {group}s (rows {some}{more}), "
        "so that training and test folds share them: remove all but one of each."
    )


def determined_by(metadata: pd.DataFrame, design: Design) -> dict[str, str]:
    """Columns that tell the label, with the words that say how well.

    Of the batch, position, domains and confounders those that are not nested in the groups, for
    folds hold out nested ones anyway. Told means that the commonest label of each value removes
    nine tenths of the errors of the commonest label of all (λ of Goodman and Kruskal, 1954).
    """
    columns = (design.batch, design.position, *design.domains, *design.confounders)
    given = {c for c in columns if c and c in metadata} - {design.label, design.group}
    found: dict[str, str] = {}
    if design.label == design.group:
        return found
    for column in sorted(given):
        known = metadata[[design.label, design.group, column]].dropna()
        nested = known.groupby(column)[design.group].nunique().max() == 1
        several = known[column].nunique() * 3 <= len(known)
        if nested or not several:
            continue
        table = pd.crosstab(known[column], known[design.label]).to_numpy()
        errors, wrong = len(known) - table.sum(0).max(), len(known) - table.max(1).sum()
        if errors > 0 and 1 - wrong / errors >= DETERMINED:
            found[column] = "determined" if wrong == 0 else "nearly determined"
    return found
