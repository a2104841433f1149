"""Variance of an embedding that each factor of a design explains."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._matrix import centred, check_matrix

Array = NDArray[Any]


@dataclass(frozen=True)
class VarianceShare:
    """Share of the variance that a factor explains, in [0, 1].

    Parameters
    ----------
    alone
        With the factor entered first: all that it could explain, sequential (type I).
    unique
        With the factor entered last: only what no other factor could explain (type III, as there
        are no interactions). Both are equal in a balanced design.
    alone_chance, unique_chance
        Their means over permuted rows of the embedding: degrees of freedom over N − 1.
    """

    alone: float
    unique: float
    alone_chance: float
    unique_chance: float


@dataclass(frozen=True)
class Decomposition:
    """Variance of an embedding by factor.

    Parameters
    ----------
    shares
        By name of the factor.
    total
        Share of all factors at once, without interactions.
    notes
        One sentence for each factor that the design cannot tell from others.
    """

    shares: Mapping[str, VarianceShare]
    total: float
    notes: tuple[str, ...]


def decompose(
    embedding: Array, factors: Mapping[str, Array], *, components: int | None = None
) -> Decomposition:
    """Share of the variance of an embedding that each factor explains, in [0, 1].

    η² of the principal components weighted by their eigenvalues, Σ λ_i η²_i/Σ λ_i: the principal
    component regression of Büttner et al. (2019) for several factors. Memory grows with rows times
    dimensions, and with the square of the number of levels.

    Parameters
    ----------
    embedding
        `(N, D)`, finite.
    factors
        Categories `(N,)` by name of the factor, such as compound, plate and well position.
    components
        Leading principal components that count; by default all.

    Returns
    -------
    Decomposition
        With the chance level of every share.

    Raises
    ------
    ValueError
        For NaN or infinite numbers, a constant embedding, factors that lack items or have only one
        level, and `components` out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import decompose
    >>> embedding = np.array([[0.0, 1.0], [0.0, -1.0], [2.0, 1.0], [2.0, -1.0]])
    >>> found = decompose(embedding, {"plate": [1, 1, 2, 2], "dose": [1, 2, 1, 2]})
    >>> round(found.shares["plate"].unique, 3), round(found.total, 3)
    (0.5, 1.0)
    """
    check_matrix(embedding)
    n, d = embedding.shape
    if not factors:
        raise ValueError("at least one factor is required")
    codes = {name: _codes(name, values, n) for name, values in factors.items()}
    scores = _scores(embedding, components, d)
    total = float((scores**2).sum())
    if total == 0:
        raise ValueError("the embedding is constant, so there is no variance to explain")

    explained, degrees = _explained(scores, list(codes.values()))
    shares = {}
    for name, own in codes.items():
        alone, alone_degrees = _explained(scores, [own])
        rest, rest_degrees = _explained(scores, [c for k, c in codes.items() if k != name])
        shares[name] = VarianceShare(
            alone=alone / total,
            unique=max(explained - rest, 0.0) / total,
            alone_chance=alone_degrees / (n - 1),
            unique_chance=(degrees - rest_degrees) / (n - 1),
        )
    aliased = [name for name, share in shares.items() if share.unique_chance == 0]
    return Decomposition(shares, explained / total, _notes(codes, aliased))


def _codes(name: str, values: Array, n: int) -> Array:
    import pandas as pd

    if len(values) != n:
        raise ValueError(f"{name} has {len(values)} items, but the embedding has {n}")
    codes, levels = pd.factorize(np.asarray(values))
    if (missing := int((codes < 0).sum())) > 0:
        raise ValueError(f"{name} is missing for {missing} of {n} items")
    if len(levels) < 2:
        raise ValueError(f"{name} has only one level, {levels[0]}, so it explains no variance")
    return codes


def _scores(embedding: Array, components: int | None, d: int) -> Array:
    rows = centred(embedding)
    if components is None:
        # Over all components the weighted mean does not depend on the axes.
        return rows
    if not 1 <= components <= d:
        raise ValueError(f"components must be between 1 and {d}, not {components}")
    _, axes = np.linalg.eigh(rows.T @ rows)
    return rows @ axes[:, ::-1][:, :components]


def _explained(scores: Array, codes: list[Array]) -> tuple[float, int]:
    """Sum of squares that the factors explain together, and their degrees of freedom.

    Indicators of levels stay sparse; only their cross-counts, levels squared, are dense.
    """
    from scipy import sparse

    if not codes:
        return 0.0, 0
    n = len(scores)
    ones, positions = np.ones(n), np.arange(n)
    design = sparse.hstack([sparse.csr_array((ones, (positions, c))) for c in codes], format="csr")
    sums = design.T @ scores  # (levels, D)
    values, axes = np.linalg.eigh((design.T @ design).toarray())
    known = values > values[-1] * len(values) * 1e-13
    projected = axes[:, known].T @ sums
    return float((projected**2 / values[known, None]).sum()), int(known.sum()) - 1


def _notes(codes: Mapping[str, Array], aliased: list[str]) -> tuple[str, ...]:
    notes = []
    noted = set()
    for (a, one), (b, other) in combinations(codes.items(), 2):
        joint = len(np.unique(one * (other.max() + 1) + other))
        left, right = one.max() + 1 == joint, other.max() + 1 == joint
        if left and right:
            notes.append(
                f"{a} and {b} are fully confounded: each level of one occurs with one level of "
                "the other, so neither has a unique share"
            )
            noted |= {a, b}
        elif left or right:
            inner, outer = (a, b) if left else (b, a)
            notes.append(f"{outer} is determined by {inner}, so it has no unique share by design")
            noted.add(outer)
    notes += [
        f"{name} is determined by the other factors together, so it has no unique share"
        for name in aliased
        if name not in noted
    ]
    return tuple(notes)
