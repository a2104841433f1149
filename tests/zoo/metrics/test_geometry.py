"""Geometry against scikit-learn, SciPy and loops."""

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from zoo.metrics import _matrix, geometry
from zoo.metrics._geometry import covariance
from zoo.metrics._matrix import centred


def stretched(seed=0, n=300, d=7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.arange(1, d + 1) + rng.normal(size=d)


@pytest.mark.parametrize("seed", range(3))
def test_numbers_equal_the_libraries(seed, monkeypatch):
    monkeypatch.setattr(_matrix, "CHUNK", 64)  # so that rows come in several chunks, one short
    rows = stretched(seed)
    found = geometry(rows)
    pca = PCA().fit(rows)
    values = pca.explained_variance_
    cosines = cosine_similarity(rows)[np.triu_indices(300, 1)]
    # Float64 throughout: only the order of sums differs.
    assert found.participation_ratio == pytest.approx(values.sum() ** 2 / (values**2).sum())
    assert found.effective_rank == pytest.approx(np.exp(entropy(values)))
    assert found.first_share == pytest.approx(pca.explained_variance_ratio_[0])
    assert found.mean_cosine == pytest.approx(cosines.mean(), abs=1e-12)
    assert (found.dead, found.dimensions) == (0, 7)
    np.testing.assert_allclose(covariance(rows)[0], np.cov(rows, rowvar=False, bias=True))
    np.testing.assert_allclose(centred(rows), rows - rows.mean(0))


def test_a_sphere_fills_its_space_and_a_line_does_not():
    # Plus and minus each axis: every eigenvalue is the same, and opposite pairs cancel.
    sphere = np.concatenate([np.eye(5), -np.eye(5)])
    found = geometry(sphere)
    assert found.participation_ratio == pytest.approx(5)
    assert found.effective_rank == pytest.approx(5)
    assert found.first_share == pytest.approx(0.2)
    assert found.mean_cosine == pytest.approx(-1 / 9)  # 5 of the 45 pairs have cosine -1
    assert found.collapse is None
    line = np.outer(np.arange(1, 9), [1.0, 2, 3])
    found = geometry(line)
    assert found.participation_ratio == pytest.approx(1)
    assert found.effective_rank == pytest.approx(1)
    assert found.first_share == pytest.approx(1)
    assert found.mean_cosine == pytest.approx(1)


def test_random_rows_come_near_the_sphere():
    found = geometry(np.random.default_rng(0).normal(size=(20_000, 10)))
    # Eigenvalues scatter by sqrt(2/20000) = 1 %, the ratio by the square of that.
    assert found.participation_ratio == pytest.approx(10, rel=0.01)
    # The mean cosine scatters by sqrt(2/D)/N, far below this.
    assert found.mean_cosine == pytest.approx(0, abs=1e-3)


def test_collapse_says_which_way():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(100, 8))
    assert geometry(noise).collapse is None
    cone = geometry(noise + 100).collapse
    assert "mean cosine" in cone
    assert "participation" not in cone
    flat = geometry(noise * [10, 10, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]).collapse
    assert "participation ratio is 2.0" in flat
    assert "cosine" not in flat
    both = geometry(noise * [1, 0.1, 0, 0, 0, 0, 0, 0] + [100, 0, 0, 0, 0, 0, 0, 0]).collapse
    assert "participation" in both
    assert "cosine" in both


def test_dead_dimensions_are_counted_and_do_not_count():
    rows = stretched()
    with_dead = np.c_[rows, np.full(300, 3.0), 1 + 1e-7 * rows[:, 0]]
    found, alone = geometry(with_dead), geometry(rows)
    assert (found.dead, found.dimensions) == (2, 9)
    assert found.participation_ratio == pytest.approx(alone.participation_ratio)
    assert not centred(with_dead)[:, 7:].any()
    matrix, dead = covariance(with_dead)
    np.testing.assert_array_equal(dead, np.arange(9) >= 7)
    assert not matrix[dead].any()
    assert not matrix[:, dead].any()


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3])
def test_a_constant_embedding_is_collapsed(value):
    found = geometry(np.full((50, 4), value, np.float32))
    assert (found.participation_ratio, found.effective_rank, found.dead) == (0, 0, 4)
    assert np.isnan(found.first_share)
    assert found.mean_cosine == pytest.approx(0 if value == 0 else 1)
    assert found.collapse is not None


def test_duplicated_rows_change_the_cosine_only():
    rows = stretched(n=20)
    once, twice = geometry(rows), geometry(np.concatenate([rows, rows]))
    assert twice.participation_ratio == pytest.approx(once.participation_ratio)
    # Of 40·39 ordered pairs, 40 are a row with its copy and 4·20·19 are pairs from before.
    wanted = (4 * 20 * 19 * once.mean_cosine + 40) / (40 * 39)
    assert twice.mean_cosine == pytest.approx(wanted)


def test_bad_embeddings_are_refused():
    rows = stretched(n=10)
    rows[[3, 5], 1] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in 2 of 10 rows.*row 3"):
        geometry(rows)
    with pytest.raises(ValueError, match="at least two rows, but there is 1"):
        geometry(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        geometry(np.ones(3))
