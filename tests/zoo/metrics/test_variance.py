"""Shares of variance against regressions of each principal component on indicators."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from zoo.metrics import decompose


def unbalanced(seed=0, n=120):
    rng = np.random.default_rng(seed)
    batch = rng.integers(0, 3, n)
    # Labels go with batches, but not fully.
    label = np.where(rng.random(n) < 0.6, batch, rng.integers(0, 4, n))
    row = rng.integers(0, 5, n)
    effect = rng.normal(size=(4, 6))[label] + 2 * rng.normal(size=(3, 6))[batch]
    rows = effect + rng.normal(size=(n, 6)) * np.arange(1, 7)
    return rows, {"label": np.array(list("abcd"))[label], "batch": batch, "row": row}


def naive_share(rows, factors, components):
    """Explained share of each component by ordinary regression, weighed by its variance."""
    if not factors:
        return 0.0
    pca = PCA(components).fit(rows)
    design = pd.get_dummies(pd.DataFrame(factors).astype(str), drop_first=True).to_numpy(float)
    scores = pca.transform(rows)
    shares = [LinearRegression().fit(design, s).score(design, s) for s in scores.T]
    return np.average(shares, weights=pca.explained_variance_)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("components", [None, 2])
def test_shares_equal_regressions_on_principal_components(seed, components):
    rows, factors = unbalanced(seed)
    found = decompose(rows, factors, components=components)
    everything = naive_share(rows, factors, components)
    # Normal equations lose half of float64's digits at worst.
    assert found.total == pytest.approx(everything, abs=1e-8)
    for name, share in found.shares.items():
        rest = {k: v for k, v in factors.items() if k != name}
        alone = naive_share(rows, {name: factors[name]}, components)
        assert share.alone == pytest.approx(alone, abs=1e-8)
        unique = everything - naive_share(rows, rest, components)
        assert share.unique == pytest.approx(unique, abs=1e-8)
    assert found.shares["label"].alone > found.shares["label"].unique + 0.01
    assert found.notes == ()


def test_in_a_balanced_design_both_orders_are_equal_and_add_up():
    rng = np.random.default_rng(0)
    a, b = np.repeat(np.arange(3), 20), np.tile(np.arange(4), 15)
    found = decompose(rng.normal(size=(60, 5)) + a[:, None], {"a": a, "b": b})
    for share in found.shares.values():
        assert share.alone == pytest.approx(share.unique, abs=1e-10)
    total = sum(share.alone for share in found.shares.values())
    assert found.total == pytest.approx(total, abs=1e-10)


def test_an_embedding_of_the_label_alone_goes_with_it_entirely():
    label, batch = np.repeat(np.arange(3), 8), np.tile(np.arange(2), 12)
    found = decompose(np.eye(3)[label], {"label": label, "batch": batch})
    assert found.shares["label"].alone == pytest.approx(1)
    assert found.shares["label"].unique == pytest.approx(1)
    assert found.shares["batch"].alone == pytest.approx(0, abs=1e-12)


def test_noise_has_the_shares_of_chance():
    _, factors = unbalanced()
    draws = [
        decompose(np.random.default_rng(s).normal(size=(120, 50)), factors).shares
        for s in range(20)
    ]
    for name, share in draws[0].items():
        # 20·50 draws of a share of k − 1 from 119 degrees: sd at most 0.0007.
        alone = np.mean([shares[name].alone for shares in draws])
        assert alone == pytest.approx(share.alone_chance, abs=0.003)
        unique = np.mean([shares[name].unique for shares in draws])
        assert unique == pytest.approx(share.unique_chance, abs=0.003)
    assert draws[0]["label"].alone_chance == pytest.approx(3 / 119)
    assert draws[0]["batch"].unique_chance == pytest.approx(2 / 119)


def test_full_confounding_is_said_and_leaves_no_unique_share():
    rng = np.random.default_rng(0)
    batch = np.repeat(np.arange(3), 10)
    label = np.array(["x", "y", "z"])[batch]
    found = decompose(rng.normal(size=(30, 4)) + batch[:, None], {"label": label, "batch": batch})
    assert len(found.notes) == 1
    assert "label and batch are fully confounded" in found.notes[0]
    for share in found.shares.values():
        assert share.alone == pytest.approx(found.total)
        assert share.unique == pytest.approx(0, abs=1e-12)
        assert share.unique_chance == 0


def test_a_factor_that_others_determine_is_said():
    rng = np.random.default_rng(0)
    plate = np.repeat(np.arange(4), 6)
    rows = rng.normal(size=(24, 3))
    found = decompose(rows, {"plate": plate, "batch": plate // 2, "row": np.tile([0, 1], 12)})
    assert found.notes == ("batch is determined by plate, so it has no unique share by design",)
    # a and b never occur together, so a + b is 0 or 1: each is what the two others leave open.
    a, b = np.tile([0, 1, 0], 8), np.tile([0, 0, 1], 8)
    aliased = decompose(rows, {"a": a, "b": b, "sum": a + b})
    assert len(aliased.notes) == 3
    assert "sum is determined by the other factors together" in aliased.notes[2]
    assert aliased.shares["sum"].unique == pytest.approx(0, abs=1e-12)


def test_constant_features_do_not_count_and_copies_of_rows_change_nothing():
    rows, factors = unbalanced()
    found = decompose(rows, factors)
    padded = decompose(np.c_[rows, np.full(120, 1e6)], factors)
    twice = decompose(np.r_[rows, rows], {k: np.r_[v, v] for k, v in factors.items()})
    for name, share in found.shares.items():
        for other in (padded, twice):
            assert other.shares[name].alone == pytest.approx(share.alone)
            assert other.shares[name].unique == pytest.approx(share.unique)


def test_what_has_no_answer_is_refused():
    rows, factors = unbalanced()
    with pytest.raises(ValueError, match="the embedding is constant"):
        decompose(np.full((120, 3), 0.1, np.float32), factors)
    with pytest.raises(ValueError, match="batch has only one level, 7"):
        decompose(rows, {"batch": np.full(120, 7)})
    holes = factors["batch"].astype(float)
    holes[:3] = np.nan
    with pytest.raises(ValueError, match="batch is missing for 3 of 120 items"):
        decompose(rows, {"batch": holes})
    with pytest.raises(ValueError, match="row has 119 items, but the embedding has 120"):
        decompose(rows, {"row": factors["row"][1:]})
    with pytest.raises(ValueError, match="between 1 and 6, not 7"):
        decompose(rows, factors, components=7)
    with pytest.raises(ValueError, match="at least one factor"):
        decompose(rows, {})
    rows[2, 2] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite numbers in 1 of 120 rows"):
        decompose(rows, factors)
