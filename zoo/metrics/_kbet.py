"""kBET: whether the batch composition of neighbourhoods is that of the whole."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._distances import codes_of, members_of, neighbours_of, tally

Array = NDArray[Any]
MIN_NEIGHBOURS = 10
MIN_TESTED = 0.75


@dataclass(frozen=True)
class KbetAcceptance:
    """Acceptance rate of kBET.

    Parameters
    ----------
    score
        Mean over the tested labels of the share of accepted items, in [0, 1]; NaN if no label could
        be tested.
    labels, items
        How many labels and items were tested.
    """

    score: float
    labels: int
    items: int


def kbet(indices: Array, labels: Array, batches: Array, *, alpha: float = 0.05) -> KbetAcceptance:
    """Share of items whose neighbourhood has the batch composition of their label (kBET).

    A χ² test at level `alpha` compares the batches among an item's neighbours of its own label, up
    to the k0 = min(70, max(10, quarter of the mean batch size)) nearest, with those of the label
    (Büttner et al., 2019), per label as in scIB (Luecken et al., 2022) but with the given
    neighbours and not those of a diffusion map. Left out are items with fewer than 10 neighbours of
    their label, and labels with fewer than 10 items, one batch, or less than three quarters of
    their items left; scIB counts these as rejected.

    Parameters
    ----------
    indices
        `(N, k)` nearest other items of each item, nearest first; k well above k0.
    labels, batches
        `(N,)`.
    alpha
        Level of the test.

    Returns
    -------
    KbetAcceptance
        Its score is about 1 − `alpha` where batches are mixed.

    Raises
    ------
    ValueError
        For indices that are no neighbours, shapes that do not fit, and an `alpha` out of (0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import kbet, nearest_neighbours
    >>> embedding = np.random.default_rng(0).normal(size=(300, 8))
    >>> indices, _ = nearest_neighbours(embedding, 90)
    >>> found = kbet(indices, np.zeros(300), np.arange(300) % 2)
    >>> round(found.score, 1), found.items
    (1.0, 300)
    """
    from scipy.special import chdtrc

    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    near = neighbours_of(indices)
    label, batch = codes_of(labels, len(near), "labels"), codes_of(batches, len(near), "batches")
    rates, items = [], 0
    for members in members_of(label):
        _, own = np.unique(batch[members], return_inverse=True)
        sizes = np.bincount(own)
        if len(members) < MIN_NEIGHBOURS or len(sizes) < 2:
            continue
        wanted = min(70, max(10, int(sizes.mean() / 4)))
        place = np.full(len(near), -1)
        place[members] = own
        found = place[near[members]]
        used = (found >= 0) & ((found >= 0).cumsum(1) <= wanted)
        totals = used.sum(1)
        tested = totals >= MIN_NEIGHBOURS
        if tested.mean() < MIN_TESTED:
            continue
        observed = tally(np.maximum(found, 0), len(sizes), used.astype(float))[tested]
        expected = totals[tested, None] * sizes / sizes.sum()
        statistic = ((observed - expected) ** 2 / expected).sum(1)
        rates.append(float((chdtrc(len(sizes) - 1, statistic) >= alpha).mean()))
        items += int(tested.sum())
    return KbetAcceptance(float(np.mean(rates)) if rates else float("nan"), len(rates), items)
