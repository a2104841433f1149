"""Alignment against scikit-learn, SciPy's matrix powers, and what it promises of controls."""

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from zoo.metrics import centre_scale, pca_centre_scale, sphere, tvn

PER_BATCH = 60
BATCH = np.repeat(["b0", "b1", "b2"], PER_BATCH)
CONTROL = np.tile(np.arange(PER_BATCH) < 40, 3)
DIMENSIONS = 5


def plates(seed=0):
    """Three batches that differ in shift, scale and correlation of features."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(3):
        mix = np.eye(DIMENSIONS) + 0.4 * rng.normal(size=(DIMENSIONS, DIMENSIONS))
        part = rng.normal(size=(PER_BATCH, DIMENSIONS)) @ mix * rng.uniform(0.5, 3, DIMENSIONS)
        parts.append(part + rng.normal(size=DIMENSIONS) * 5)
    return np.concatenate(parts)


def scale_by_batch(rows, control=CONTROL, batch=BATCH):
    out = np.zeros(rows.shape)
    for name in np.unique(batch):
        own = batch == name
        out[own] = StandardScaler().fit(rows[own & control]).transform(rows[own])
    return out


def naive_tvn(rows, control=CONTROL, batch=BATCH, components=None):
    rows = StandardScaler().fit(rows[control]).transform(rows)
    rows = PCA(components, svd_solver="full").fit(rows[control]).transform(rows)
    rows = scale_by_batch(rows, control, batch)
    for name in np.unique(batch):
        own = batch == name
        cov = np.cov(rows[own & control], rowvar=False) + 0.5 * np.eye(rows.shape[1])
        rows[own] = rows[own] @ fractional_matrix_power(cov, -0.5)
    return rows


def assert_equal_up_to_signs(found, wanted):
    """Principal axes have no sign of their own; all else agrees to the rounding of float64."""
    sign = np.sign((found * wanted).sum(0))
    np.testing.assert_allclose(found * sign, wanted, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_alignments_equal_the_libraries(seed):
    rows = plates(seed)
    found = centre_scale(rows, CONTROL)
    wanted = StandardScaler().fit(rows[CONTROL]).transform(rows)
    np.testing.assert_allclose(found, wanted, atol=1e-10)
    np.testing.assert_allclose(centre_scale(rows, CONTROL, BATCH), scale_by_batch(rows), atol=1e-10)
    for components in (None, 2):
        turned = PCA(components, svd_solver="full").fit(rows[CONTROL]).transform(rows)
        found = pca_centre_scale(rows, CONTROL, BATCH, components=components)
        assert_equal_up_to_signs(found, scale_by_batch(turned))
        found = tvn(rows, CONTROL, BATCH, components=components)
        assert_equal_up_to_signs(found, naive_tvn(rows, components=components))


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
@pytest.mark.parametrize("method", ["ZCA", "ZCA-cor"])
def test_sphering_equals_a_matrix_power(method, shrinkage):
    rows = plates()
    centre, spread = rows[CONTROL].mean(0), rows[CONTROL].std(0)
    scaled = (rows - centre) / (spread if method == "ZCA-cor" else 1.0)
    cov = np.cov(scaled[CONTROL], rowvar=False)
    cov = cov + shrinkage * np.trace(cov) / DIMENSIONS * np.eye(DIMENSIONS)
    found = sphere(rows, CONTROL, method=method, shrinkage=shrinkage)
    np.testing.assert_allclose(found, scaled @ fractional_matrix_power(cov, -0.5), atol=1e-9)


@pytest.mark.parametrize("method", ["ZCA", "ZCA-cor"])
def test_sphered_controls_are_centred_and_white_and_still_their_features(method):
    rows = plates()
    found = sphere(rows, CONTROL, method=method)[CONTROL]
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(found, rowvar=False), np.eye(DIMENSIONS), atol=1e-9)
    # Of all whitenings only these have a symmetric cross-covariance with what they whiten.
    before = rows[CONTROL] / (rows[CONTROL].std(0) if method == "ZCA-cor" else 1.0)
    cross = np.cov(found, before, rowvar=False)[:DIMENSIONS, DIMENSIONS:]
    np.testing.assert_allclose(cross, cross.T, atol=1e-8)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_a_feature_without_variance_among_controls_is_zero_to_the_bit(shrinkage):
    rows = plates()
    dead = np.insert(rows, 1, np.where(CONTROL, 0.1, rows[:, 0]), axis=1)
    found = sphere(dead, CONTROL, shrinkage=shrinkage)
    assert not found[:, 1].any()
    wanted = sphere(rows, CONTROL, shrinkage=shrinkage)
    np.testing.assert_allclose(np.delete(found, 1, axis=1), wanted, atol=1e-9)


def test_sphering_does_not_depend_on_the_mean():
    # Controls that are not centred first would whiten the offset instead of the variation.
    rows = plates()
    shifted = rows + 1000
    np.testing.assert_allclose(sphere(shifted, CONTROL), sphere(rows, CONTROL), atol=1e-6)


def test_white_rows_stay_as_they_are():
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T.astype(float)
    control = np.ones(8, bool)
    np.testing.assert_allclose(centre_scale(signs, control), signs, atol=1e-12)
    # Covariance is divided by n − 1, standard deviation by n.
    white = signs * np.sqrt(7 / 8)
    for method in ("ZCA", "ZCA-cor"):
        np.testing.assert_allclose(sphere(signs, control, method=method), white, atol=1e-12)


def test_batches_that_are_scaled_copies_become_one():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(PER_BATCH, 4))
    rows = np.concatenate([base, base * [2, 3, 0.5, 1] + 7, base * 10 - 4])
    # No rotation goes with these batches, so centring and scaling undoes all of it.
    first, *others = np.split(centre_scale(rows, CONTROL, BATCH), 3)
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-10)


def test_tvn_takes_batch_from_random_profiles_and_leaves_treatment():
    rng = np.random.default_rng(0)
    rows = plates()
    treated = ~CONTROL & (rng.random(len(rows)) < 0.5)
    spread = rows[CONTROL].std(0)
    rows[treated] += 6 * spread
    found = tvn(rows, CONTROL, BATCH)
    means = np.array([found[CONTROL & (b == BATCH)].mean(0) for b in np.unique(BATCH)])
    np.testing.assert_allclose(means, 0, atol=1e-10)
    for name in np.unique(BATCH):
        values = np.linalg.eigvalsh(np.cov(found[CONTROL & (name == BATCH)], rowvar=False))
        # λ/(λ + 0.5) of any covariance lies below 1.
        assert values.max() < 1
    size = np.linalg.norm(found, axis=1)
    assert np.median(size[treated]) > 1.5 * np.median(size[CONTROL])


def test_what_is_not_a_control_has_no_say():
    rows = plates()
    changed = rows.copy()
    changed[~CONTROL] *= 100
    for align in (
        lambda e: centre_scale(e, CONTROL, BATCH),
        lambda e: pca_centre_scale(e, CONTROL, BATCH),
        lambda e: tvn(e, CONTROL, BATCH),
        lambda e: sphere(e, CONTROL),
    ):
        np.testing.assert_array_equal(align(changed)[CONTROL], align(rows)[CONTROL])


def test_a_feature_constant_among_controls_becomes_zero_and_no_other_changes():
    rows = plates()
    dead = np.where(CONTROL, 5.0, 6.0)
    wide = np.c_[rows, dead].astype(np.float32)
    narrow = rows.astype(np.float32)
    for align in (
        lambda e: centre_scale(e, CONTROL, BATCH),
        lambda e: sphere(e, CONTROL),
        lambda e: sphere(e, CONTROL, shrinkage=0.0, method="ZCA"),
    ):
        found = align(wide)
        assert not found[:, -1].any()
        np.testing.assert_allclose(found[:, :-1], align(narrow), atol=1e-9)
    for align in (pca_centre_scale, tvn):
        found = align(wide, CONTROL, BATCH)
        assert not found[:, -1].any()  # the last axis has no variance
        assert_equal_up_to_signs(found[:, :-1], align(narrow, CONTROL, BATCH))
    # Constant in one batch only: 0 there, scaled elsewhere.
    rows[BATCH == "b1", 0] = 3
    found = centre_scale(rows, CONTROL, BATCH)
    assert not found[BATCH == "b1", 0].any()
    assert found[BATCH == "b0", 0].any()


def test_a_direction_constant_among_controls_is_not_blown_up():
    rows = plates()
    # Among controls the last feature copies the first, among the rest it does not.
    wide = np.c_[rows, rows[:, 0] + ~CONTROL]
    for align in (pca_centre_scale, tvn):
        found = align(wide, CONTROL, BATCH)
        assert not found[:, -1].any()
    for method in ("ZCA", "ZCA-cor"):
        # Rounding among controls has an sd near 1e-16 and would make the difference near 1e8.
        assert np.abs(sphere(wide, CONTROL, method=method)).max() < 50


def test_constant_embeddings_become_zero():
    rows = np.full((180, 3), 0.1, np.float32)
    for found in (
        centre_scale(rows, CONTROL, BATCH),
        pca_centre_scale(rows, CONTROL, BATCH),
        tvn(rows, CONTROL, BATCH),
        sphere(rows, CONTROL),
        sphere(rows, CONTROL, method="ZCA"),
    ):
        assert not found.any()


def test_duplicated_rows_change_nothing_that_divides_by_n():
    rows = plates()
    once = centre_scale(rows, CONTROL, BATCH)
    twice = centre_scale(*(np.concatenate([x, x]) for x in (rows, CONTROL, BATCH)))
    np.testing.assert_allclose(twice[: len(rows)], once, atol=1e-10)


def test_more_dimensions_than_controls_need_shrinkage_or_fewer_axes():
    rng = np.random.default_rng(0)
    rows, control = rng.normal(size=(60, 30)), np.arange(60) < 20
    batch = np.zeros(60, int)
    for shrinkage in (0.0, 1e-6):
        with pytest.raises(ValueError, match="the controls are only 20 for 30 dimensions"):
            sphere(rows, control, shrinkage=shrinkage)
    # Their mean takes one away.
    with pytest.raises(ValueError, match="the controls are only 30 for 30 dimensions"):
        sphere(rows, np.arange(60) < 30)
    whitened = sphere(rows, np.arange(60) < 31)[:31]
    np.testing.assert_allclose(np.cov(whitened, rowvar=False), np.eye(30), atol=1e-6)
    # Shrinkage of 0.5 multiplies a standardised feature by sqrt(2) at most.
    assert np.abs(sphere(rows, control, shrinkage=0.5)).max() < 10
    with pytest.raises(
        ValueError, match="only 20 controls for 30 axes: keep at most 19 components"
    ):
        pca_centre_scale(rows, control, batch)
    with pytest.raises(ValueError, match="only 20 controls for 20 axes"):
        tvn(rows, control, batch, components=20)
    assert tvn(rows, control, batch, components=10).shape == (60, 10)
    halves = np.tile([0, 1], 30)
    assert np.isfinite(tvn(rows, control, halves, components=15)).all()
    with pytest.raises(ValueError, match="controls of batch 0 are only 10 for 15 dimensions"):
        tvn(rows, control, halves, components=15, shrinkage=0)


def test_a_batch_without_enough_controls_is_refused():
    rows = plates()
    control = CONTROL & (BATCH != "b1")
    for align in (centre_scale, pca_centre_scale, tvn):
        with pytest.raises(ValueError, match=r"batch b1 has 0 control\(s\), but 4 are needed"):
            align(rows, control, BATCH)
    control[np.flatnonzero(BATCH == "b1")[:3]] = True
    with pytest.raises(ValueError, match=r"batch b1 has 3 control\(s\)"):
        centre_scale(rows, control, BATCH)
    assert np.isfinite(centre_scale(rows, control, BATCH, min_controls=3)).all()
    with pytest.raises(ValueError, match=r"there are 0 control\(s\), but 2 are needed"):
        sphere(rows, np.zeros(180, bool))


def test_a_batch_that_holds_treated_items_only_cannot_be_aligned():
    # Batch and label are the same: aligning by anything but controls would take the label away.
    with pytest.raises(ValueError, match="batch treated has 0"):
        centre_scale(plates(), CONTROL, np.where(CONTROL, "control", "treated"))


def test_bad_arguments_are_refused():
    rows = plates()
    with pytest.raises(ValueError, match="180 booleans"):
        centre_scale(rows, CONTROL.astype(int))
    with pytest.raises(ValueError, match="min_controls must be 2 or more, not 1"):
        centre_scale(rows, CONTROL, min_controls=1)
    with pytest.raises(ValueError, match="between 1 and 5, not 6"):
        pca_centre_scale(rows, CONTROL, components=6)
    with pytest.raises(ValueError, match="0 or more, not -1"):
        tvn(rows, CONTROL, BATCH, shrinkage=-1)
    with pytest.raises(ValueError, match="not PCA"):
        sphere(rows, CONTROL, method="PCA")
    rows[[1, 2], 0] = np.nan
    for align in (centre_scale, pca_centre_scale, tvn):
        with pytest.raises(ValueError, match="NaN or infinite numbers in 2 of 180 rows"):
            align(rows, CONTROL, BATCH)
    with pytest.raises(ValueError, match="NaN or infinite numbers in 2 of 180 rows"):
        sphere(rows, CONTROL)
