"""Consistency and magnitude against loops, SciPy, enumeration and chance."""

import itertools
from math import comb

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from zoo.metrics import consistency, energy_distance, magnitude


def plates(perturbations=5, replicates=6, controls=30, batches=3, features=6, strength=2.0, seed=0):
    """Draw replicates spread over batches, and controls on all of them."""
    rng = np.random.default_rng(seed)
    names = np.repeat(np.array([f"p{i}" for i in range(perturbations)], object), replicates)
    names = np.concatenate([names, np.full(controls, "control", object)])
    control = names == "control"
    batch = np.arange(len(names)) % batches
    rows = rng.normal(size=(len(names), features))
    centres = strength * rng.normal(size=(perturbations, features))
    rows[~control] += np.repeat(centres, replicates, axis=0)
    return rows, names, control, batch


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def naive_consistency(rows, batch=None):
    pairs = [
        cosine(rows[i], rows[j])
        for i, j in itertools.combinations(range(len(rows)), 2)
        if batch is None or batch[i] != batch[j]
    ]
    return np.mean(pairs), len(pairs)


def naive_energy(x, y):
    return 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()


@pytest.mark.parametrize("split", [False, True])
def test_consistency_equals_a_loop(split):
    rows, names, control, batch = plates()
    found = consistency(rows, names, control, batches=batch if split else None, null_size=50)
    assert list(found.perturbations.index) == [f"p{i}" for i in range(5)]
    for name, row in found.perturbations.iterrows():
        inside = names == name
        wanted, pairs = naive_consistency(rows[inside], batch[inside] if split else None)
        assert (row.replicates, row.pairs) == (6, pairs)
        assert row.consistency == pytest.approx(wanted, abs=1e-12)
    assert (found.controls, found.notes) == (30, ())
    corrected = stats.false_discovery_control(found.perturbations.p_value)
    np.testing.assert_allclose(found.perturbations.corrected_p_value, corrected)


@pytest.mark.parametrize("split", [False, True])
def test_the_null_of_consistency_is_that_of_all_draws_of_controls(split):
    rows, names, control, batch = plates(controls=8, batches=2, replicates=4, strength=0.4, seed=2)
    found = consistency(rows, names, control, batches=batch if split else None, null_size=20_000)
    pool = np.flatnonzero(control)
    for name, row in found.perturbations.iterrows():
        own = np.bincount(batch[names == name], minlength=2)
        every = []
        for draw in itertools.combinations(pool, 4):
            part = batch[list(draw)]
            if not split:
                every.append(naive_consistency(rows[list(draw)])[0])
            elif (np.bincount(part, minlength=2) == own).all():
                every.append(naive_consistency(rows[list(draw)], part)[0])
        assert len(every) == (comb(4, 2) ** 2 if split else comb(8, 4))
        share = (np.array(every) >= row.consistency).mean()
        error = np.sqrt(share * (1 - share) / 20_000)
        assert row.p_value == pytest.approx(share, abs=5 * error + 1e-4)
        assert row.expected == pytest.approx(
            np.mean(every), abs=5 * np.std(every) / np.sqrt(20_000)
        )


def test_strong_perturbations_are_consistent_and_far_and_noise_is_at_chance():
    strong = plates(perturbations=10, strength=8.0)
    assert (consistency(*strong[:3]).perturbations.corrected_p_value < 0.01).all()
    assert (magnitude(*strong[:3]).perturbations.corrected_p_value < 0.01).all()
    noise = plates(perturbations=150, replicates=4, controls=150, strength=0.0)
    agreed = consistency(*noise[:3], null_size=300)
    far = magnitude(*noise[:3], null_size=300)
    for table in (agreed.perturbations, far.perturbations):
        for level in (0.1, 0.5):
            # 150 p-values against the same controls: the sd of the share is 0.04 at 0.5, and more.
            assert (table.p_value <= level).mean() == pytest.approx(level, abs=0.15)
    # Replicates have nothing in common; controls are the same, and their mean cosine is not all 0.
    assert agreed.perturbations.consistency.mean() == pytest.approx(0, abs=0.05)
    far_off = far.perturbations.magnitude - far.perturbations.expected
    assert far_off.mean() == pytest.approx(0, abs=0.1)


def test_a_shortcut_shared_within_batches_does_not_help_across_them():
    rows, names, control, batch = plates(perturbations=20, batches=4, controls=80, strength=0.0)
    # Replicates lie in two batches; controls in all four.
    batch[~control] = np.repeat(np.arange(20) % 2 * 2, 6) + np.tile([0, 0, 0, 1, 1, 1], 20)
    rows += 20 * np.eye(6)[batch]
    for score in (consistency, magnitude):
        pooled = score(rows, names, control).perturbations.p_value
        split = score(rows, names, control, batches=batch).perturbations.p_value
        assert pooled.max() < 0.2
        # 20 even p-values, against the same controls: the sd of their mean is 0.06, and more.
        assert split.mean() == pytest.approx(0.5, abs=0.25)


def test_energy_distance_equals_scipy_and_a_loop():
    rng = np.random.default_rng(0)
    for n, m in [(1, 1), (1, 5), (7, 30)]:
        x, y = rng.normal(size=(n, 1)), 1 + rng.normal(size=(m, 1))
        wanted = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
        # Squares are multiplied out, which costs half of the digits of small distances.
        assert energy_distance(x, y) == pytest.approx(wanted, abs=1e-6)
        x, y = rng.normal(size=(n, 9)), 0.5 + rng.normal(size=(m, 9))
        assert energy_distance(x, y) == pytest.approx(naive_energy(x, y), abs=1e-9)
        for size in (1e-300, 1e300):
            assert energy_distance(x * size, y * size) == pytest.approx(
                naive_energy(x, y) * size, rel=1e-9
            )
    assert energy_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert energy_distance(np.ones((3, 2)), np.ones((4, 2))) == 0


@pytest.mark.parametrize("split", [False, True])
def test_magnitude_equals_a_loop(split):
    rows, names, control, batch = plates(controls=31)
    batch[names == "p0"] %= 2
    found = magnitude(rows, names, control, batches=batch if split else None, null_size=50)
    for name, row in found.perturbations.iterrows():
        pool = control & (np.isin(batch, batch[names == name]) if split else True)
        wanted = naive_energy(rows[names == name], rows[pool])
        assert (row.replicates, row.controls) == (6, pool.sum())
        assert row.magnitude == pytest.approx(wanted, rel=1e-9)
    assert found.notes == ()


@pytest.mark.parametrize("split", [False, True])
def test_the_null_of_magnitude_is_that_of_all_permutations(split):
    rows, names, control, batch = plates(
        perturbations=2, replicates=3, controls=8, batches=2, strength=0.7
    )
    found = magnitude(rows, names, control, batches=batch if split else None, null_size=20_000)
    for name, row in found.perturbations.iterrows():
        everyone = np.flatnonzero(control | (names == name))
        own = np.bincount(batch[names == name], minlength=2)
        every = []
        for draw in itertools.combinations(everyone, 3):
            if split and (np.bincount(batch[list(draw)], minlength=2) != own).any():
                continue
            rest = [i for i in everyone if i not in draw]
            every.append(naive_energy(rows[list(draw)], rows[rest]))
        share = (np.array(every) >= row.magnitude - 1e-9).mean()
        error = np.sqrt(share * (1 - share) / 20_000)
        assert row.p_value == pytest.approx(share, abs=5 * error + 1e-4)
        assert row.expected == pytest.approx(
            np.mean(every), abs=5 * np.std(every) / np.sqrt(20_000)
        )


def test_what_cannot_be_compared_is_said():
    rows, names, control, batch = plates(controls=5, batches=1)
    names[0], names[1] = "alone", None
    batch[:12] = 1
    agreed = consistency(rows, names, control, null_size=10)
    assert np.isnan(agreed.perturbations.loc["alone", "consistency"])
    assert np.isnan(agreed.perturbations.loc["p1", "p_value"])
    assert agreed.perturbations.loc["p1", "consistency"] > -1
    assert agreed.perturbations.loc["p0", "p_value"] >= 1 / 11
    assert agreed.notes == (
        "1 profile(s) without a perturbation are left out.",
        "1 perturbation(s) have no two replicates, so no consistency.",
        "4 perturbation(s) have more replicates than controls, so no p-value.",
    )
    agreed = consistency(rows, names, control, batches=batch, null_size=10)
    assert agreed.perturbations.consistency.isna().all()
    assert (
        "6 perturbation(s) have no two replicates in different batches, so no consistency."
        in agreed.notes
    )
    far = magnitude(rows, names, control, null_size=10)
    assert "1 perturbation(s) have one replicate, so its variation is unknown." in far.notes
    assert far.perturbations.p_value.notna().all()
    far = magnitude(rows, names, control, batches=batch, null_size=10)
    assert "3 perturbation(s) are in a batch without controls, so no magnitude." in far.notes
    assert far.perturbations.magnitude.isna().sum() == 3
    everyone = np.ones(len(rows), bool)
    for score in (consistency, magnitude):
        nothing = score(rows, names, everyone)
        assert not len(nothing.perturbations)
        assert nothing.notes == ("No profile has a perturbation other than the controls.",)


def test_a_constant_embedding_is_neither_consistent_nor_far():
    _, names, control, _ = plates()
    for value in (0.0, 0.1):
        flat = np.full((len(names), 4), value)
        agreed = consistency(flat, names, control, null_size=20).perturbations
        far = magnitude(flat, names, control, null_size=20).perturbations
        assert (agreed.p_value == 1).all()
        assert (far.p_value == 1).all()
        assert (far.magnitude == 0).all()


def test_the_seed_decides():
    rows, names, control, batch = plates(strength=0.5)
    for score in (consistency, magnitude):
        one = score(rows, names, control, batches=batch, seed=1).perturbations
        again = score(rows, names, control, batches=batch, seed=1).perturbations
        other = score(rows, names, control, batches=batch, seed=2).perturbations
        np.testing.assert_array_equal(one, again)
        assert (one.p_value != other.p_value).any()


@pytest.mark.parametrize("score", [consistency, magnitude])
def test_wrong_arguments(score):
    rows, names, control, batch = plates()
    with pytest.raises(ValueError, match="at least one control"):
        score(rows, names, ~control & control)
    with pytest.raises(ValueError, match="a boolean for each of 60"):
        score(rows, names, control.astype(int))
    with pytest.raises(ValueError, match="one name for each of 60"):
        score(rows, names[1:], control)
    with pytest.raises(ValueError, match="one entry for each of 60"):
        score(rows, names, control, batches=batch[1:])
    with pytest.raises(ValueError, match="profile 2 has no batch"):
        score(rows, names, control, batches=np.where(np.arange(60) == 2, None, batch))
    with pytest.raises(ValueError, match="null_size"):
        score(rows, names, control, null_size=0)
    with pytest.raises(ValueError, match="matrix"):
        score(rows[0], names, control)
    with pytest.raises(ValueError, match="x has 6 features, but y has 5"):
        energy_distance(rows, rows[:, 1:])
    with pytest.raises(ValueError, match=r"y must be a non-empty .* matrix"):
        energy_distance(rows, rows[:0])
    finite = rows.copy()
    rows[5, 1] = np.inf
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in 1 of 60 rows.*row 5"):
        score(rows, names, control)
    with pytest.raises(ValueError, match=r"y has NaN or infinite numbers in 1 of 60 rows"):
        energy_distance(finite, rows)
