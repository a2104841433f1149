"""Replicate retrieval: mean average precision with a permutation null, as in copairs.

Kalinin et al. (2025), doi:10.1038/s41467-025-60306-2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._matrix import check_matrix, unit_rows
from ._pairs import Pairs
from ._permutation_null import Null
from ._precision import expected_average_precision, normalised_average_precision
from ._ranking import Search

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


@dataclass(frozen=True)
class Retrieval:
    """Average precision of profiles and its mean over the profiles of a label.

    Parameters
    ----------
    pairs
        The positives and negatives that were ranked.
    profiles
        One row a profile, in the order and with the index of the table: `label`, `positives` and
        `negatives` (how many), `average_precision`, `chance` (its mean over random rankings),
        `normalised` (0 by chance, 1 if perfect), `p_value`. NaN without positives or negatives.
    groups
        One row a label, which is the index: `profiles`, `scored`, `positives` and `negatives` (sums
        over the scored profiles), `mean_average_precision`, `chance`, `normalised` (means over the
        scored profiles), `p_value`, `corrected_p_value` (Benjamini–Hochberg over the labels that
        have a p-value).
    without_positives, without_negatives
        Profiles that could not be scored; a profile may be in both counts.
    null_size, seed
        Of the permutation null; no p-value is below 1/(1 + `null_size`).
    """

    pairs: Pairs
    profiles: pd.DataFrame
    groups: pd.DataFrame
    without_positives: int
    without_negatives: int
    null_size: int
    seed: int


def mean_average_precision(
    embedding: Array,
    table: pd.DataFrame,
    pairs: Pairs,
    *,
    null_size: int = 10_000,
    seed: int = 0,
    count_ties: bool = False,
    entries: int | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Retrieval:
    """Retrieve replicates by cosine similarity, with permutation p-values.

    A profile's positives and negatives are ranked, and its average precision is the mean of the
    precision at the places of the positives. Similarities that round to the same multiple of 2⁻³⁸
    are ties and score the mean over their orders, so a constant embedding is exactly at chance.
    copairs rounds similarities to float32 instead and places tied positives first (Kalinin et al.,
    2025, doi:10.1038/s41467-025-60306-2). A row of zeros has similarity 0 with all.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    table
        N rows with the columns that `pairs` names, none of them missing.
    pairs
        Positives and negatives: `any_negatives`, `control_negatives`, `across_batches`, or `Pairs`.
    null_size
        Random rankings for each number of positives and negatives.
    seed
        Of the random rankings.
    count_ties
        Whether random rankings that equal the mean average precision of a label count against it.
        copairs counts only higher ones, so that a perfect score passes for rare even where rankings
        are so short that random ones are often perfect. For single profiles both count ties.
    entries
        Similarities that a thread holds at once, of about 6 bytes each.
    threads
        By default as many as NumPy's linear algebra may use.
    device
        ``"cuda"`` screens on a GPU, with the same result; by default the CPU does.

    Returns
    -------
    Retrieval
        Average precisions in (0, 1], with their chance level and p-values.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, and columns that are absent, have
        missing values, or are not boolean where they should be.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from zoo.metrics import any_negatives, mean_average_precision
    >>> table = pd.DataFrame({"compound": ["a", "a", "b", "b"], "plate": [1, 2, 1, 2]})
    >>> embedding = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
    >>> found = mean_average_precision(embedding, table, any_negatives("compound"))
    >>> found.groups["mean_average_precision"].to_dict()
    {'a': 1.0, 'b': 1.0}
    >>> found.groups["chance"].round(3).to_dict()
    {'a': 0.611, 'b': 0.611}
    """
    import pandas as pd

    if null_size < 1:
        raise ValueError(f"null_size must be at least 1, not {null_size}")
    if entries is not None and entries < 1:
        raise ValueError(f"entries must be at least 1, not {entries}")
    search = Search(_directions(embedding, table), _columns(table, pairs), pairs, device)
    positives, negatives, precision = search.precisions(entries, threads)
    del search
    chance, null = _chances(positives, negatives, precision), Null(null_size, seed)
    normalised = normalised_average_precision(precision, chance)
    profiles = pd.DataFrame(
        {
            "label": table[pairs.label].to_numpy(),
            "positives": positives,
            "negatives": negatives,
            "average_precision": precision,
            "chance": chance,
            "normalised": normalised,
            "p_value": null.of_profiles(positives, negatives, precision),
        },
        index=table.index,
    )
    return Retrieval(
        pairs,
        profiles,
        _groups(profiles, null, count_ties),
        int((positives == 0).sum()),
        int((negatives == 0).sum()),
        null_size,
        seed,
    )


def _directions(embedding: Array, table: pd.DataFrame) -> Array:
    rows = check_matrix(embedding)
    if len(table) != len(rows):
        raise ValueError(f"the table has {len(table)} rows, but the embedding has {len(rows)}")
    return unit_rows(rows)


def _columns(table: pd.DataFrame, pairs: Pairs) -> dict[str, Array]:
    """Integer codes of the columns that `pairs` names; the controls as booleans."""
    import pandas as pd

    others = (*pairs.pos_diffby, *pairs.neg_diffby, *pairs.neg_sameby)
    names = [pairs.label, *others, *filter(None, (pairs.controls, pairs.neg_sameby_positives))]
    codes = {}
    for name in dict.fromkeys(names):
        if name not in table:
            raise ValueError(f"the table has no column {name!r}")
        if table[name].isna().any():
            row = int(table[name].isna().to_numpy().argmax())
            raise ValueError(f"column {name!r} has no value for profile {row}")
        codes[name] = pd.factorize(table[name])[0].astype(np.int32)
    if pairs.controls is not None:
        if not pd.api.types.is_bool_dtype(table[pairs.controls]):
            raise ValueError(f"column {pairs.controls!r} must be boolean")
        codes[pairs.controls] = table[pairs.controls].to_numpy(bool, copy=True)
    return codes


def _chances(positives: Array, negatives: Array, precision: Array) -> Array:
    """Expected average precision of random rankings; NaN for profiles without a score."""

    @cache
    def chance(sought: int, total: int) -> float:
        return expected_average_precision(sought, total)

    scored = ~np.isnan(precision)
    return np.array(
        [
            chance(int(p), int(p + n)) if known else np.nan
            for p, n, known in zip(positives, negatives, scored, strict=True)
        ]
    )


def _groups(profiles: pd.DataFrame, null: Null, count_ties: bool) -> pd.DataFrame:
    import pandas as pd
    from scipy.stats import false_discovery_control

    codes, labels = pd.factorize(profiles["label"], sort=True)
    sizes = np.bincount(codes, minlength=len(labels))
    scored = profiles["average_precision"].notna().to_numpy()
    codes = codes[scored]
    count = np.bincount(codes, minlength=len(labels))
    columns = ("positives", "negatives", "average_precision", "chance", "normalised")
    values = {name: profiles[name].to_numpy()[scored] for name in columns}
    sums = {name: np.bincount(codes, v, minlength=len(labels)) for name, v in values.items()}
    with np.errstate(invalid="ignore"):
        means = {name: total / count for name, total in sums.items()}  # NaN for none
    p_values = null.of_groups(
        values["positives"], values["negatives"], codes, means["average_precision"], count_ties
    )
    corrected, tested = p_values.copy(), ~np.isnan(p_values)
    if tested.any():
        corrected[tested] = false_discovery_control(p_values[tested])
    return pd.DataFrame(
        {
            "profiles": sizes,
            "scored": count,
            "positives": sums["positives"].astype(np.int64),
            "negatives": sums["negatives"].astype(np.int64),
            "mean_average_precision": means["average_precision"],
            "chance": means["chance"],
            "normalised": means["normalised"],
            "p_value": p_values,
            "corrected_p_value": corrected,
        },
        index=pd.Index(labels, name="label"),
    )
