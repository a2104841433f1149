"""Agreement of embeddings against SciPy, scikit-learn and the formulas on N×N kernels."""

import numpy as np
import pytest
from scipy.stats import ortho_group, spearmanr
from sklearn.metrics.pairwise import cosine_similarity

from zoo.metrics import cka, rsa


def related(seed=0, n=40):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(n, 5)) + rng.normal(size=5)
    return first, first[:, :3] @ rng.normal(size=(3, 8)) + rng.normal(size=(n, 8))


def naive_cka(a, b):
    n = len(a)
    centre = np.eye(n) - 1 / n
    k, m = centre @ (a @ a.T) @ centre, centre @ (b @ b.T) @ centre
    return np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


def naive_unbiased_cka(a, b):
    """Loops over the distinct triples and quadruples that Song's equation 5 sums up."""

    def hsic(x, y):
        k, m = x @ x.T, y @ y.T
        n = len(k)
        pairs = triples = quads = 0.0
        for i in range(n):
            for j in range(n):
                if j == i:
                    continue
                pairs += k[i, j] * m[i, j]
                for q in range(n):
                    if q in (i, j):
                        continue
                    triples += k[i, j] * m[i, q]
                    quads += sum(k[i, j] * m[q, r] for r in range(n) if r not in (i, j, q))
        two, three, four = n * (n - 1), n * (n - 1) * (n - 2), n * (n - 1) * (n - 2) * (n - 3)
        return pairs / two - 2 * triples / three + quads / four

    return hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))


@pytest.mark.parametrize("seed", range(3))
def test_agreement_equals_the_definitions(seed):
    first, second = related(seed)
    upper = np.triu_indices(len(first), 1)
    wanted = spearmanr(cosine_similarity(first)[upper], cosine_similarity(second)[upper])[0]
    # Float64 on both sides; cosines are rounded to 1e-12, which no rank here depends on.
    assert rsa(first, second) == pytest.approx(wanted, abs=1e-9)
    assert cka(first, second) == pytest.approx(naive_cka(first, second), abs=1e-10)
    few = first[:9], second[:9]
    assert cka(*few, unbiased=True) == pytest.approx(naive_unbiased_cka(*few), abs=1e-10)


@pytest.mark.parametrize("scale", [1e-90, 1.0, 1e12])
def test_turned_and_scaled_copies_agree_perfectly(scale):
    first, _ = related()
    copy = first @ ortho_group.rvs(5, random_state=0) * scale
    assert rsa(first, copy) == pytest.approx(1)
    for unbiased in (False, True):
        assert cka(first, copy + 3 * scale, unbiased=unbiased) == pytest.approx(1)


def test_independent_embeddings_agree_by_chance():
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        first, second = rng.normal(size=(60, 30)), rng.normal(size=(60, 20))
        found.append((rsa(first, second), cka(first, second), cka(first, second, unbiased=True)))
    similarity, plain, unbiased = np.mean(found, axis=0)
    # Each of the 40 scatters by about 0.03, so that their mean does by 0.005.
    assert similarity == pytest.approx(0, abs=0.02)
    assert unbiased == pytest.approx(0, abs=0.02)
    # The documented level holds up to terms of order 1/N.
    assert plain == pytest.approx(np.sqrt(30 * 20 / (90 * 80)), abs=0.02)


def test_more_dimensions_than_items_flatter_the_plain_form():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(20, 2000)), rng.normal(size=(20, 2000))
    assert cka(first, second) > 0.95
    # Over draws, a cosine of two random 170-vectors, 20·17/2: sd about 0.08.
    assert abs(cka(first, second, unbiased=True)) < 0.3


def test_sampled_pairs_come_near_all_pairs_and_repeat():
    first, second = related(n=200)
    exact = rsa(first, second)
    sampled = rsa(first, second, exact_rows=100, pairs=40_000)
    # The standard error is 1/sqrt(40000) = 0.005.
    assert sampled == pytest.approx(exact, abs=0.02)
    assert sampled != exact
    assert sampled == rsa(first, second, exact_rows=100, pairs=40_000)
    assert sampled != rsa(first, second, exact_rows=100, pairs=40_000, seed=1)


def test_a_sample_never_pairs_an_item_with_itself():
    # Mutually orthogonal items: all true pairs have cosine 0, so that nothing can be ranked.
    assert rsa(np.eye(50), np.eye(50), exact_rows=10, pairs=5000) == 0


def test_constant_embeddings_agree_with_nothing():
    first, _ = related()
    flat = np.full((40, 3), 0.1, np.float32)
    assert rsa(first, flat) == 0
    parallel = np.outer(np.arange(1, 41), [0.1, 0.3, 0.7])
    assert rsa(first, parallel) == 0  # whatever order rounding gives to cosines of 1
    assert cka(first, flat) == 0
    assert cka(first, flat, unbiased=True) == 0


def test_duplicated_items_stay_perfect():
    first, _ = related()
    twice = np.concatenate([first, first])
    assert rsa(twice, twice * 2) == pytest.approx(1)
    assert cka(twice, twice * 2, unbiased=True) == pytest.approx(1)


@pytest.mark.parametrize("measure", [rsa, cka])
def test_bad_embeddings_are_refused(measure):
    first, second = related()
    with pytest.raises(ValueError, match="second embedding has 39 rows, but 40"):
        measure(first, second[1:])
    second[4, 2] = np.nan
    with pytest.raises(ValueError, match=r"second embedding has NaN .* in 1 of 40 rows.*row 4"):
        measure(first, second)


def test_too_few_items_are_refused():
    first, second = related(n=3)
    with pytest.raises(ValueError, match="at least 4 items are needed, but there are 3"):
        cka(first, second, unbiased=True)
    with pytest.raises(ValueError, match="at least 3 items are needed, but there are 2"):
        rsa(first[:2], second[:2])
