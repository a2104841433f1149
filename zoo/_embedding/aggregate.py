"""Profiles of wells, or of other groups, from those of their images."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from zoo.registry import DataError, suggest

from .embeddings import Embeddings

Method = Literal["mean", "median"]
WELLS = ("Metadata_Plate", "Metadata_Well")
_PREFIX = "Metadata_"


def aggregate(
    profiles: Embeddings, by: Sequence[str] = WELLS, *, method: Method = "mean"
) -> Embeddings:
    """Return one profile for each group: the mean or the median of its items.

    Parameters
    ----------
    profiles
        From `embed` or `read_profiles`.
    by
        Columns of metadata that make a group, with or without ``Metadata_``.
    method
        ``"mean"`` or ``"median"``, feature by feature.

    Returns
    -------
    Embeddings
        Groups in the order of their names. Metadata that are the same for all items of each group
        are kept; ``provenance["aggregated"]`` lists the others as dropped.

    Raises
    ------
    DataError
        If a column is missing, or has no value for some item.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> table = pd.DataFrame({"Well": ["A01", "A01", "A02"], "Site": ["1", "2", "1"]})
    >>> matrix = np.array([[1], [3], [5]], dtype=np.float32)
    >>> sites = zoo.Embeddings(matrix, table, {"encoder": "mine"})
    >>> zoo.aggregate(sites, ["Metadata_Well"]).to_frame().values.tolist()
    [['A01', 2.0], ['A02', 5.0]]
    """
    if method not in ("mean", "median"):
        raise ValueError(f"method is {method!r}, but must be 'mean' or 'median'")
    if isinstance(by, str) or not by:
        raise ValueError(f"by is {by!r}, but must be a sequence of columns")
    table = profiles.metadata.reset_index(drop=True)
    names = [_column(name, table) for name in by]
    for name in names:
        empty = int(table[name].isna().sum())
        if empty:
            raise DataError(
                f"{empty} of {len(table)} profiles have no {name}: leave them out, or group by "
                "other columns"
            )
    groups = table.groupby(names, sort=True, observed=True)
    members = groups.ngroup().to_numpy()
    reduce = np.mean if method == "mean" else np.median
    order = np.argsort(members, kind="stable")
    starts = np.flatnonzero(np.diff(members[order], prepend=-1))
    rows = np.split(order, starts[1:])
    matrix = np.stack([reduce(profiles.matrix[r].astype(np.float64), axis=0) for r in rows])
    kept = [c for c in table.columns if c in names or _constant(table[c], members)]
    dropped = [str(c) for c in table.columns if c not in kept]
    provenance = {
        **profiles.provenance,
        "aggregated": {"by": names, "method": method, "items": len(table), "dropped": dropped},
    }
    metadata = table[kept].iloc[[r[0] for r in rows]].reset_index(drop=True)
    return Embeddings(matrix.astype(np.float32), metadata, provenance)


def _column(name: str, table: pd.DataFrame) -> str:
    for known in (name, name.removeprefix(_PREFIX), _PREFIX + name):
        if known in table.columns:
            return known
    columns = [str(c) for c in table.columns]
    hint = suggest(name.removeprefix(_PREFIX), columns)
    raise DataError(f"the profiles have no column {name}, only {', '.join(columns)}.{hint}")


def _constant(values: pd.Series, members: np.ndarray) -> bool:
    """Whether a column has one value in each group; a missing one counts as a value."""
    codes, _ = pd.factorize(values, use_na_sentinel=False)
    pairs = pd.DataFrame({"group": members, "value": codes}).drop_duplicates()
    return len(pairs) == len(np.unique(members))
