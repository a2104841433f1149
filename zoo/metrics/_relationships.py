"""Relationship recall: whether related perturbations have similar or opposite profiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._blocks import ROWS
from ._matrix import check_matrix, unit_rows

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
Aggregate = Literal["mean", "median"]
ROUNDING = 1e-12
"""Cosines nearer than this are ties."""
PARALLEL = 0.9


@dataclass(frozen=True)
class RelationshipRecall:
    """Recall of annotated pairs in the tails of all pairs of perturbations.

    Parameters
    ----------
    outer, upper
        Share of annotated pairs in either tail of all pairs, and in the upper one; NaN without
        pairs.
    chance_outer, chance_upper
        Shares of randomly drawn pairs: twice the tail, and the tail.
    pairs
        The pairs that count: `first`, `second`, `similarity` and `percentile`, the rank among all
        pairs from 0 to 1, where ties share the middle.
    perturbations, compared
        Perturbations with an aggregate, and the number of their pairs.
    variant
        What was computed, for the record: versions of the benchmark differ.
    notes
        What was left out or matters for reading the result, one sentence each.
    """

    outer: float
    upper: float
    chance_outer: float
    chance_upper: float
    pairs: pd.DataFrame
    perturbations: int
    compared: int
    variant: str
    notes: tuple[str, ...]


def relationship_recall(
    embedding: Array,
    perturbations: Array,
    related: pd.DataFrame | Iterable[tuple[object, object]],
    *,
    tail: float = 0.05,
    aggregate: Aggregate = "mean",
    rows: int = ROWS,
) -> RelationshipRecall:
    """Recall of annotated pairs of perturbations in the tails of the cosines of all pairs.

    Profiles of a perturbation are aggregated, then compared by cosine (EFAAR; Celik et al., 2024).
    Every pair of different perturbations counts once, annotated or not, and none is sampled.
    Profiles are not aligned here: align them on controls first.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    perturbations
        `(N,)` names; profiles without one are left out.
    related
        Annotated pairs, as two columns or as tuples of names, in any order.
    tail
        Share of all pairs in one tail, below 0.5.
    aggregate
        ``"mean"`` or ``"median"`` of the profiles of a perturbation.
    rows
        Perturbations in a block, which bounds the memory and does not change the result.

    Returns
    -------
    RelationshipRecall
        Recalls in [0, 1]; by chance twice the tail, and the tail for the upper one alone.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, annotations that are not pairs, and
        `tail` or `aggregate` out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import relationship_recall
    >>> names = np.array(["a", "b", "c", "d", "e", "f", "g"])
    >>> embedding = np.random.default_rng(0).normal(size=(7, 4))
    >>> embedding[1] = embedding[0] + 0.01
    >>> found = relationship_recall(embedding, names, [("a", "b")], tail=0.1)
    >>> found.upper, found.chance_upper
    (1.0, 0.1)
    """
    import pandas as pd

    if not 0 < tail < 0.5:
        raise ValueError(f"tail must be between 0 and 0.5, not {tail}")
    if aggregate not in ("mean", "median"):
        raise ValueError(f"aggregate must be 'mean' or 'median', not {aggregate!r}")
    if rows < 1:
        raise ValueError(f"rows must be at least 1, not {rows}")
    values = check_matrix(embedding).astype(np.float64, copy=False)
    notes: list[str] = []
    codes, names = _names(perturbations, len(values), notes)
    directions, names = _directions(values, codes, names, aggregate, notes)
    first, second = _annotated(related, names, notes)
    items = len(names)
    compared = items * (items - 1) // 2
    similarity = np.einsum("ij,ij->i", directions[first], directions[second])
    percentile = np.full(len(first), np.nan)
    if len(first):
        percentile, spread = _percentiles(directions, similarity, rows)
        if spread <= 2 * ROUNDING:
            notes.append(
                "All pairs of perturbations are equally similar, so percentiles are undefined."
            )
            percentile[:] = np.nan
        elif _mean_cosine(directions) > PARALLEL:
            notes.append(
                f"The mean cosine of all pairs is above {PARALLEL}: align profiles on controls, or "
                "the common direction dominates."
            )
    else:
        notes.append("No annotated pair is in the data.")
    usable = not np.isnan(percentile).any() and len(first) > 0
    if usable and compared * tail < 1:
        notes.append(f"{compared} pair(s) of perturbations are too few for a tail of {tail:g}.")
        usable = False
    upper, lower = percentile >= 1 - tail, percentile <= tail
    return RelationshipRecall(
        outer=float((upper | lower).mean()) if usable else float("nan"),
        upper=float(upper.mean()) if usable else float("nan"),
        chance_outer=2 * tail,
        chance_upper=tail,
        pairs=pd.DataFrame(
            {
                "first": names[first],
                "second": names[second],
                "similarity": similarity,
                "percentile": percentile,
            }
        ),
        perturbations=items,
        compared=compared,
        variant=(
            f"{aggregate} of profiles, cosine, all pairs of different perturbations as null, "
            f"outer {tail:g} on either side and upper {tail:g}"
        ),
        notes=tuple(notes),
    )


def _mean_cosine(directions: Array) -> float:
    """Mean cosine of all pairs of different rows, from their sum."""
    items = len(directions)
    total = directions.sum(0)
    return float((total @ total - items) / (items * (items - 1))) if items > 1 else float("nan")


def _names(perturbations: Array, items: int, notes: list[str]) -> tuple[Array, Array]:
    import pandas as pd

    if np.shape(perturbations) != (items,):
        raise ValueError(f"perturbations must have one name for each of {items} profiles")
    codes, names = pd.factorize(np.asarray(perturbations, object))
    if (unnamed := int((codes < 0).sum())) > 0:
        notes.append(f"{unnamed} profile(s) without a perturbation are left out.")
    return codes, np.asarray(names, object)


def _directions(
    values: Array, codes: Array, names: Array, aggregate: Aggregate, notes: list[str]
) -> tuple[Array, Array]:
    """Unit vectors of the aggregates that have a direction, and their names."""
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] >= 0]
    sizes = np.bincount(codes[order], minlength=len(names))
    take = np.mean if aggregate == "mean" else np.median
    aggregates = np.empty((len(names), values.shape[1]))
    scale = np.empty(len(names))
    for code, members in enumerate(np.split(order, np.cumsum(sizes)[:-1]) if len(names) else ()):
        unit = float(np.abs(values[members]).max()) or 1.0  # so that nothing overflows
        aggregates[code] = take(values[members] / unit, axis=0)
        scale[code] = np.abs(aggregates[code]).max()
    # An aggregate that cancels to less than float64 resolves has no direction.
    kept = scale > 1e-14
    if not kept.all():
        notes.append(f"{int((~kept).sum())} perturbation(s) of aggregate zero are left out.")
    return unit_rows(aggregates[kept]), names[kept]


def _annotated(
    related: pd.DataFrame | Iterable[tuple[object, object]], names: Array, notes: list[str]
) -> tuple[Array, Array]:
    """Distinct pairs that are in the data, as indices of names."""
    import pandas as pd

    table = related if isinstance(related, pd.DataFrame) else pd.DataFrame(list(related))
    if table.shape[1] != 2 and len(table):
        raise ValueError(f"related must be pairs of names, not {table.shape[1]} columns")
    if not len(table):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    index = pd.Index(names, dtype=object)
    sides = [table.iloc[:, side].astype(object) for side in (0, 1)]
    self_pairs = (sides[0] == sides[1]).to_numpy()
    if self_pairs.any():
        notes.append(f"{int(self_pairs.sum())} pair(s) of a perturbation with itself are left out.")
    places = [index.get_indexer(pd.Index(side, dtype=object)) for side in sides]
    present = (places[0] >= 0) & (places[1] >= 0)
    absent = ~present & ~self_pairs
    if absent.any():
        unknown = pd.unique(pd.concat([side[p < 0] for side, p in zip(sides, places, strict=True)]))
        shown = ", ".join(map(str, unknown[:3])) + (", …" if len(unknown) > 3 else "")
        notes.append(f"{int(absent.sum())} pair(s) are not in the data ({shown}).")
    kept = present & ~self_pairs
    both = np.sort(np.stack([places[0][kept], places[1][kept]], axis=1), axis=1)
    distinct = np.unique(both, axis=0)
    if len(distinct) < len(both):
        notes.append(f"{len(both) - len(distinct)} repeated pair(s) count once.")
    return distinct[:, 0], distinct[:, 1]


def _percentiles(directions: Array, similarity: Array, rows: int) -> tuple[Array, float]:
    """Percentiles among the similarities of all pairs, and the range of those."""
    items = len(directions)
    below, upto = np.zeros(len(similarity)), np.zeros(len(similarity))
    least, most = np.inf, -np.inf
    for start in range(0, items - 1, rows):
        block = directions[start : start + rows]
        # Later perturbations only, so that each pair counts once.
        later = np.arange(start, items) > np.arange(start, start + len(block))[:, None]
        found = np.sort((block @ directions[start:].T)[later])
        below += np.searchsorted(found, similarity - ROUNDING)
        upto += np.searchsorted(found, similarity + ROUNDING, "right")
        if len(found):
            least, most = min(least, float(found[0])), max(most, float(found[-1]))
    percentile: Array = (below + upto) / (items * (items - 1))
    return percentile, most - least
