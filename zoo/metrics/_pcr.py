"""Principal component regression: the share of variance that batches explain."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._distances import codes_of, points, sums_by_code

Array = NDArray[Any]


def principal_component_regression(
    embedding: Array, batches: Array, *, components: int | None = None
) -> float:
    """Share of variance that batches explain, Σ λ_i R²(PC_i ~ batch)/Σ λ_i, in [0, 1].

    Principal component regression (Büttner et al., 2019). By chance (B − 1)/(N − 1) for B batches,
    the mean over permuted batches; 0 where all batches have the same mean.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    batches
        `(N,)`.
    components
        Leading principal components that count; by default all, which needs no decomposition.

    Returns
    -------
    float
        NaN for a constant embedding.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, and `components` below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import principal_component_regression
    >>> embedding = np.array([[0.0, 1.0], [0.0, -1.0], [2.0, 1.0], [2.0, -1.0]])
    >>> principal_component_regression(embedding, np.array([1, 1, 2, 2]))
    0.5
    """
    centred = points(embedding, "euclidean")
    batch = codes_of(batches, len(centred), "batches")
    if components is not None and components < 1:
        raise ValueError(f"components must be at least 1, not {components}")
    means = sums_by_code(centred, batch) / np.bincount(batch)[:, None]
    if components is None:
        total = (centred**2).sum()
    else:
        variances, axes = np.linalg.eigh(centred.T @ centred)
        total = variances[-components:].sum()
        means = means @ axes[:, -components:]
    explained = (np.bincount(batch) * (means**2).sum(1)).sum()
    return float(explained / total) if total > 0 else float("nan")
