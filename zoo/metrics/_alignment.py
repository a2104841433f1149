"""Alignment of profiles across batches, always fitted on controls.

A feature or principal component that is constant among the controls that it is scaled by has no
known scale, and becomes 0 for all items that these controls scale.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._matrix import RESOLUTION, centred, check_matrix, standardise

Array = NDArray[Any]
Whitening = Literal["ZCA", "ZCA-cor"]
# With fewer, the standard deviation is typically off by more than 40 %.
MIN_CONTROLS = 4
# With less, directions without any control are amplified more than tenfold.
MIN_SHRINKAGE = 0.01


def centre_scale(
    embedding: Array,
    control: Array,
    batch: Array | None = None,
    *,
    min_controls: int = MIN_CONTROLS,
) -> Array:
    """Centre and scale each feature by the mean and standard deviation of the controls.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    control
        `(N,)` booleans, true for controls.
    batch
        `(N,)`; if given, each batch is aligned on its own controls.
    min_controls
        Fewest controls that a batch may have, 2 or more.

    Returns
    -------
    ndarray
        `(N, D)`; a feature that is constant among the controls of a batch becomes 0 there.

    Raises
    ------
    ValueError
        For NaN or infinite numbers, and batches with too few controls.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import centre_scale
    >>> batch = np.repeat([0, 1], 20)
    >>> control = np.tile([True, False], 20)
    >>> embedding = np.random.default_rng(0).normal(size=(40, 3)) + 5 * batch[:, None]
    >>> aligned = centre_scale(embedding, control, batch)
    >>> bool(np.allclose(aligned[control & (batch == 1)].mean(0), 0))
    True
    """
    batches = _check(embedding, control, batch, min_controls)
    return _by_batch(embedding, control, batches)


def pca_centre_scale(
    embedding: Array,
    control: Array,
    batch: Array | None = None,
    *,
    components: int | None = None,
    min_controls: int = MIN_CONTROLS,
) -> Array:
    """Rotate to the principal axes of all controls, then centre and scale on controls.

    Parameters
    ----------
    embedding, control, batch, min_controls
        As for `centre_scale`.
    components
        Leading axes that are kept, fewer than the controls; by default all.

    Returns
    -------
    ndarray
        `(N, components)`; an axis without variance among the controls becomes 0.

    Raises
    ------
    ValueError
        As `centre_scale`, and if the controls do not outnumber the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import pca_centre_scale
    >>> batch = np.repeat([0, 1], 20)
    >>> control = np.tile([True, False], 20)
    >>> embedding = np.random.default_rng(0).normal(size=(40, 3)) + 5 * batch[:, None]
    >>> pca_centre_scale(embedding, control, batch, components=2).shape
    (40, 2)
    """
    batches = _check(embedding, control, batch, min_controls)
    rotated = _rotate(embedding.astype(np.float64), control, components)
    return _by_batch(rotated, control, batches)


def tvn(
    embedding: Array,
    control: Array,
    batch: Array,
    *,
    components: int | None = None,
    shrinkage: float = 0.5,
    min_controls: int = MIN_CONTROLS,
) -> Array:
    """Typical variation normalisation (Ando, McLean and Berndl, 2017), with aligned batches.

    Centre and scale on all controls, rotate to their principal axes, centre and scale on the
    controls of each batch, and multiply each batch by (C + `shrinkage`·I)^(−1/2), where C is the
    covariance of its controls, as the EFAAR benchmarks do (Celik et al., 2024).

    Parameters
    ----------
    embedding, control, batch, min_controls
        As for `centre_scale`. A batch may have fewer controls than axes if `shrinkage` is 0.01 or
        more.
    components
        Leading axes that are kept, fewer than the controls; by default all.
    shrinkage
        Variance added in every direction, 0 or more; that of the controls is about 1.

    Returns
    -------
    ndarray
        `(N, components)`.

    Raises
    ------
    ValueError
        As `pca_centre_scale`, and if the controls of a batch do not outnumber the axes while
        `shrinkage` is below 0.01.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import tvn
    >>> batch = np.repeat([0, 1], 20)
    >>> control = np.tile([True, False], 20)
    >>> embedding = np.random.default_rng(0).normal(size=(40, 3)) + 5 * batch[:, None]
    >>> aligned = tvn(embedding, control, batch, shrinkage=0.0)
    >>> controls = aligned[control & (batch == 1)]
    >>> bool(np.allclose(np.cov(controls, rowvar=False), np.eye(3)))
    True
    """
    batches = _check(embedding, control, batch, min_controls)
    _check_shrinkage(shrinkage)
    _, scaled = standardise(embedding[control].astype(np.float64), embedding)
    aligned = _by_batch(_rotate(scaled, control, components), control, batches)
    for name in np.unique(batches):
        inside = batches == name
        controls = aligned[inside & control]
        what = f"the controls of batch {name}"
        aligned[inside] = aligned[inside] @ _whitening(controls, shrinkage, what)
    return aligned


def sphere(
    embedding: Array,
    control: Array,
    *,
    method: Whitening = "ZCA-cor",
    shrinkage: float = 0.0,
) -> Array:
    """Whiten an embedding so that controls vary equally in every direction.

    Each feature stays as close to itself as whitening allows (ZCA; Kessy, Lewin and Strimmer,
    2018). The mean of the controls becomes 0, and without shrinkage their covariance the identity
    matrix.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    control
        `(N,)` booleans, true for controls.
    method
        ``"ZCA-cor"`` scales features to a variance of 1 first, and stays close to those.
    shrinkage
        Added to the variance of the controls in every direction, 0 or more, as a multiple of their
        mean variance.

    Returns
    -------
    ndarray
        `(N, D)`.

    Raises
    ------
    ValueError
        For NaN or infinite numbers, and if the controls do not outnumber the features that vary
        among them while `shrinkage` is below 0.01.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import sphere
    >>> batch = np.repeat([0, 1], 20)
    >>> control = np.tile([True, False], 20)
    >>> embedding = np.random.default_rng(0).normal(size=(40, 3)) + 5 * batch[:, None]
    >>> whitened = sphere(embedding, control)
    >>> bool(np.allclose(np.cov(whitened[control], rowvar=False), np.eye(3)))
    True
    """
    _check(embedding, control, None, 2)
    _check_shrinkage(shrinkage)
    reference, everything = standardise(embedding[control].astype(np.float64), embedding)
    if method == "ZCA":
        spread = centred(embedding[control]).std(0)
        reference, everything = reference * spread, everything * spread
    elif method != "ZCA-cor":
        raise ValueError(f"method must be ZCA or ZCA-cor, not {method}")
    variance = reference.var(0, ddof=1)
    level = float(variance[variance > 0].mean()) if (variance > 0).any() else 0.0
    return everything @ _whitening(reference, shrinkage * level, "the controls", shrinkage)


def _check(embedding: Array, control: Array, batch: Array | None, least: int) -> Array:
    check_matrix(embedding)
    n = len(embedding)
    if control.dtype != bool or control.shape != (n,):
        raise ValueError(f"control must be {n} booleans, one per item")
    if least < 2:
        raise ValueError(
            f"min_controls must be 2 or more, not {least}: one control has no standard deviation"
        )
    batches = np.zeros(n, dtype=int) if batch is None else np.asarray(batch)
    if batches.shape != (n,):
        raise ValueError(f"batch has shape {batches.shape}, but the embedding has {n} rows")
    for name in np.unique(batches):
        if (found := int(control[batches == name].sum())) < least:
            where = "there are" if batch is None else f"batch {name} has"
            raise ValueError(f"{where} {found} control(s), but {least} are needed for alignment")
    return batches


def _check_shrinkage(shrinkage: float) -> None:
    if not 0 <= shrinkage < np.inf:
        raise ValueError(f"shrinkage must be 0 or more, not {shrinkage}")


def _by_batch(embedding: Array, control: Array, batches: Array) -> Array:
    aligned = np.zeros(embedding.shape)
    for name in np.unique(batches):
        inside = batches == name
        controls = embedding[inside & control].astype(np.float64)
        aligned[inside] = standardise(controls, embedding[inside])[1]
    return aligned


def _rotate(embedding: Array, control: Array, components: int | None) -> Array:
    controls = centred(embedding[control])
    n, d = controls.shape
    kept = d if components is None else components
    if not 1 <= kept <= d:
        raise ValueError(f"components must be between 1 and {d}, not {kept}")
    alive = int(controls.any(0).sum())
    if n <= min(kept, alive):
        raise ValueError(
            f"there are only {n} controls for {min(kept, alive)} axes: "
            f"keep at most {n - 1} components"
        )
    values, axes = np.linalg.eigh(controls.T @ controls)
    values, axes = values[::-1][:kept], axes[:, ::-1][:, :kept]
    # Along an axis without variance, scaling would amplify rounding errors.
    axes = np.where(values > RESOLUTION**2 * max(values[0], 0.0), axes, 0.0)
    return (embedding - embedding[control].mean(0)) @ axes


def _whitening(
    controls: Array, variance: float, name: str, shrinkage: float | None = None
) -> Array:
    """(C + variance·I)^(−1/2) for the covariance C of controls; 0 along axes without variance.

    Features that are 0 in all controls stay 0 to the bit, for rounding errors in their place would
    be scaled up to signals by whoever standardises next.
    """
    shrunk = variance if shrinkage is None else shrinkage
    alive = controls.any(0)
    n, left = len(controls), int(alive.sum())
    if n <= left and shrunk < MIN_SHRINKAGE:
        raise ValueError(
            f"{name} are only {n} for {left} dimensions: use more controls, or a shrinkage of "
            f"{MIN_SHRINKAGE} or more"
        )
    whitening = np.zeros((controls.shape[1], controls.shape[1]))
    if left:
        values, axes = np.linalg.eigh(np.atleast_2d(np.cov(controls[:, alive], rowvar=False)))
        values = values.clip(0) + variance
        known = values > RESOLUTION**2 * values[-1]
        gain = np.where(known, 1 / np.sqrt(np.where(known, values, 1.0)), 0.0)
        whitening[np.ix_(alive, alive)] = (axes * gain) @ axes.T
    return whitening
