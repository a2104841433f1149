"""Replicate retrieval against loops, against copairs and at its chance level."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from zoo.metrics import (
    Pairs,
    across_batches,
    any_negatives,
    control_negatives,
    expected_average_precision,
    mean_average_precision,
)
from zoo.metrics._permutation_null import random_average_precision
from zoo.metrics._ranking import _count_above

COLUMNS = {
    "any": ("label",),
    "controls": ("label", "batch", "control"),
    "across batches": ("label", "batch"),
}
DEFINITIONS = {
    "any": any_negatives,
    "controls": control_negatives,
    "across batches": across_batches,
}
DEFINED = {name: define(*COLUMNS[name]) for name, define in DEFINITIONS.items()}
APART = {name: define(*COLUMNS[name], pos_diffby=("well",)) for name, define in DEFINITIONS.items()}
SCORES = ["average_precision", "chance", "normalised", "p_value"]


def plates(items=60, labels=5, batches=3, seed=0, signal=1.0, features=6):
    """Draw profiles of labels spread over batches and wells; label 0 is the control."""
    rng = np.random.default_rng(seed)
    label, batch = np.arange(items) % labels, rng.integers(0, batches, items)
    table = pd.DataFrame(
        {
            "label": np.array(list("vwxyz"))[label],
            "batch": batch,
            "well": rng.integers(0, 8, items),
            "control": label == 0,
        }
    )
    centres = rng.normal(size=(labels, features))
    return rng.normal(size=(items, features)) + signal * centres[label], table


def naive_pairs(pairs, table, i):
    """List positives and negatives of a profile by the letter of the definition."""

    def same(name, j):
        return table[name][i] == table[name][j]

    others = [j for j in range(len(table)) if j != i]
    positives = [
        j
        for j in others
        if same(pairs.label, j) and not any(same(name, j) for name in pairs.pos_diffby)
    ]
    negatives = [
        j
        for j in others
        if not same(pairs.label, j)
        and not any(same(name, j) for name in pairs.neg_diffby)
        and all(same(name, j) for name in pairs.neg_sameby)
        and (pairs.controls is None or table[pairs.controls][j])
    ]
    if pairs.neg_sameby_positives is not None:
        where = {table[pairs.neg_sameby_positives][j] for j in positives}
        negatives = [j for j in negatives if table[pairs.neg_sameby_positives][j] in where]
    return positives, negatives


def naive_precision(embedding, positives, negatives, i):
    """Rank by cosine and average the precision at each positive; no ties."""

    def cosine(j):
        a, b = embedding[i], embedding[j]
        return a @ b / np.sqrt((a @ a) * (b @ b))

    ranked = sorted([*positives, *negatives], key=cosine, reverse=True)
    hits, precisions = 0, []
    for rank, j in enumerate(ranked, start=1):
        if j in positives:
            hits += 1
            precisions.append(hits / rank)
    return np.mean(precisions)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pairs", [*DEFINED.values(), *APART.values()])
def test_a_loop_finds_the_same(pairs, seed):
    embedding, table = plates(seed=seed)
    found = mean_average_precision(embedding, table, pairs, null_size=50)
    for i, row in found.profiles.iterrows():
        positives, negatives = naive_pairs(pairs, table, i)
        assert (row.positives, row.negatives) == (len(positives), len(negatives))
        if not positives or not negatives:
            assert np.isnan(row[SCORES].astype(float)).all()
            continue
        wanted = naive_precision(embedding, positives, negatives, i)
        chance = expected_average_precision(len(positives), len(positives) + len(negatives))
        assert row.average_precision == pytest.approx(wanted, abs=1e-12)
        assert row.chance == pytest.approx(chance, abs=1e-12)
        assert row.normalised == pytest.approx((wanted - chance) / (1 - chance), abs=1e-12)
    assert found.without_positives == (found.profiles.positives == 0).sum()
    assert found.without_negatives == (found.profiles.negatives == 0).sum()
    means = found.profiles.groupby("label").average_precision.mean()
    pd.testing.assert_series_equal(found.groups.mean_average_precision, means, check_names=False)


def test_the_conditions_of_pairs_can_be_mixed():
    embedding, table = plates()
    pairs = Pairs("label", ("well",), ("well",), ("batch",), neg_sameby_positives="batch")
    found = mean_average_precision(embedding, table, pairs, null_size=50, entries=100)
    for i, row in found.profiles.iterrows():
        positives, negatives = naive_pairs(pairs, table, i)
        assert (row.positives, row.negatives) == (len(positives), len(negatives))


COPAIRS = {
    "any": (["label"], [], [], ["label"]),
    "controls": (["label"], [], ["batch"], ["control"]),
    "across batches": (["label"], ["batch"], [], ["label", "batch"]),
}


def copairs_scores(embedding, table, name, null_size, folder):
    """Score with copairs; controls have a reference of their own each, and hence no positives."""
    copairs = pytest.importorskip("copairs.map", reason="copairs is not installed")
    conditions = COPAIRS[name]
    kind = table.assign(control=table.control.astype(int))
    profiles = copairs.average_precision(
        kind, embedding, *conditions, progress_bar=False, batch_size=1000
    )
    groups = copairs.mean_average_precision(
        profiles,
        ["label"],
        null_size=null_size,
        threshold=0.05,
        seed=0,
        progress_bar=False,
        cache_dir=folder,
    )
    return profiles, groups.set_index("label")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", COPAIRS)
def test_copairs_finds_the_same(name, tmp_path):
    embedding, table = plates(items=90, signal=0.5, seed=1)
    null_size = 20_000
    theirs, their_groups = copairs_scores(embedding, table, name, null_size, tmp_path)
    ours = mean_average_precision(embedding, table, DEFINED[name], null_size=null_size)
    # To copairs all others are negatives of a control; to us, controls are no one's question.
    asked = ~table.control if name == "controls" else np.ones(len(table), bool)
    found, wanted = ours.profiles[asked], theirs[asked]
    np.testing.assert_array_equal(found.positives, wanted.n_pos_pairs)
    np.testing.assert_array_equal(found.positives + found.negatives, wanted.n_total_pairs)
    for own, other in [
        ("average_precision", "average_precision"),
        ("normalised", "normalized_average_precision"),
    ]:
        np.testing.assert_allclose(found[own], wanted[other], atol=1e-12, rtol=0)
    own = ours.groups.dropna()
    their_groups = their_groups.loc[own.index]
    np.testing.assert_allclose(
        own.mean_average_precision, their_groups.mean_average_precision, atol=1e-12, rtol=0
    )
    expected = their_groups.p_value.to_numpy()
    error = np.sqrt(2 * expected * (1 - expected) / null_size)
    assert (np.abs(own.p_value - expected) <= 5 * error + 1e-4).all()
    assert expected.max() > 0.01  # else nothing but the lower end would be compared
    if name != "controls":
        np.testing.assert_allclose(
            own.corrected_p_value, their_groups.corrected_p_value, atol=0.03, rtol=0
        )


@pytest.mark.parametrize("pairs", DEFINED.values())
def test_separate_labels_are_found_perfectly(pairs):
    _, table = plates(items=100)
    embedding = np.eye(5)[table.label.map("vwxyz".index)]
    found = mean_average_precision(embedding, table, pairs)
    scored = found.groups[found.groups.scored > 0]
    assert len(scored) == (4 if pairs.controls else 5)
    assert (scored[["mean_average_precision", "normalised"]] == 1).all(axis=None)
    assert (scored.p_value < 1e-3).all()


@pytest.mark.parametrize("pairs", DEFINED.values())
def test_noise_is_at_chance(pairs):
    embedding, table = plates(items=1000, signal=0.0, features=20)
    found = mean_average_precision(embedding, table, pairs, null_size=500)
    # 1000 rankings with about 200 positives: the sd of each is near 0.02, and they are dependent.
    assert found.profiles.normalised.mean() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("pairs", DEFINED.values())
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_a_constant_is_exactly_at_chance(pairs, value):
    _, table = plates()
    found = mean_average_precision(np.full((60, 3), value), table, pairs)
    scored = found.profiles.dropna()
    assert len(scored)
    np.testing.assert_allclose(scored.normalised, 0, atol=1e-12)


def test_ties_count_as_the_mean_over_their_orders():
    embedding = np.array([[1.0, 0], [1, 1], [1, 1], [2, 2], [3, 0], [0, 1]])
    table = pd.DataFrame({"label": list("aabaab")})
    found = mean_average_precision(embedding, table, any_negatives("label"))
    # Nearest is a positive, then come two positives and a negative tied, and a negative.
    orders = set(itertools.permutations([True, True, False]))
    precisions = []
    for order in orders:
        ranking = [True, *order, False]
        places = np.flatnonzero(ranking)
        precisions.append(np.mean(np.arange(1, 4) / (places + 1)))
    wanted = np.mean(precisions)
    assert found.profiles.average_precision[0] == pytest.approx(wanted, abs=1e-12)


def test_a_shortcut_shared_within_batches_does_not_help_across_them():
    rng = np.random.default_rng(0)
    batch = np.repeat(np.arange(8), 25)
    # Each label is in two batches only, which resemble each other and no others.
    label = (batch // 2) * 5 + np.tile(np.arange(5), 40)
    table = pd.DataFrame({"label": label, "batch": batch})
    likeness = np.eye(4)[batch // 2] * 100
    embedding = np.concatenate([likeness, rng.normal(size=(200, 8))], axis=1)
    across = mean_average_precision(embedding, table, across_batches("label", "batch"))
    within = mean_average_precision(embedding, table, any_negatives("label"))
    elsewhere = Pairs("label", pos_diffby=("batch",), neg_diffby=("batch",))
    unlike = mean_average_precision(embedding, table, elsewhere)
    assert across.profiles.normalised.mean() == pytest.approx(0, abs=0.02)
    assert within.profiles.normalised.mean() > 0.1
    assert unlike.profiles.normalised.mean() > 0.1


def test_what_cannot_be_scored_is_counted():
    embedding = np.random.default_rng(0).normal(size=(5, 3))
    table = pd.DataFrame({"label": list("aabbc"), "batch": [0, 0, 0, 1, 1]})
    table["control"] = table.label == "a"
    found = mean_average_precision(embedding, table, any_negatives("label"))
    assert (found.without_positives, found.without_negatives) == (1, 0)
    assert found.groups.scored.to_dict() == {"a": 2, "b": 2, "c": 0}
    assert found.groups.profiles.to_dict() == {"a": 2, "b": 2, "c": 1}
    assert np.isnan(found.groups.loc["c", "corrected_p_value"])
    active = mean_average_precision(
        embedding, table, control_negatives("label", "batch", "control")
    )
    assert (active.without_positives, active.without_negatives) == (1, 4)
    assert active.profiles.average_precision.notna().tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("labels", [["a"] * 6, list("abcdef")])
def test_nothing_to_rank_gives_no_number(labels):
    embedding = np.random.default_rng(0).normal(size=(6, 3))
    found = mean_average_precision(
        embedding, pd.DataFrame({"label": labels}), any_negatives("label")
    )
    assert found.profiles[SCORES].isna().all(axis=None)
    assert found.groups.mean_average_precision.isna().all()
    assert found.groups.corrected_p_value.isna().all()
    assert found.without_positives + found.without_negatives == 6


def test_long_rankings_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"label": np.concatenate([[0] * 4, [1] * 100, np.arange(2, 2402)])})
    embedding = rng.normal(size=(2504, 4))
    found = mean_average_precision(embedding, table, any_negatives("label"), null_size=10)
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    for i in (0, 3, 5, 80):
        others = np.arange(2504) != i
        truth = (table.label == table.label[i])[others]
        wanted = average_precision_score(truth, (unit @ unit[i])[others])
        assert found.profiles.average_precision[i] == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("pairs", DEFINED.values())
@pytest.mark.parametrize("entries", [1, 200])
def test_blocks_change_nothing(pairs, entries):
    embedding, table = plates()
    wanted = mean_average_precision(embedding, table, pairs)
    found = mean_average_precision(embedding, table, pairs, entries=entries)
    pd.testing.assert_frame_equal(found.profiles, wanted.profiles, rtol=0, atol=1e-12)
    pd.testing.assert_frame_equal(found.groups, wanted.groups, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pairs", [*DEFINED.values(), *APART.values()])
@pytest.mark.parametrize("settings", [{"threads": 3}, {"device": "cpu"}], ids=str)
def test_threads_and_the_code_for_gpus_change_nothing(pairs, settings):
    embedding, table = plates(items=150)
    embedding[100:] = embedding[:50]  # with ties
    wanted = mean_average_precision(embedding, table, pairs, threads=1)
    found = mean_average_precision(embedding, table, pairs, entries=300, **settings)
    pd.testing.assert_frame_equal(found.profiles, wanted.profiles, check_exact=True)
    pd.testing.assert_frame_equal(found.groups, wanted.groups, check_exact=True)


def test_what_is_near_is_told_apart_and_what_is_equal_but_for_rounding_is_not():
    angles = np.array([0.0, 0.3, 0.3 + 1e-10, 0.3 + 2e-10, 0.3 + 1e-14, 1.0])
    embedding = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    table = pd.DataFrame({"label": list("aababb")})
    found = mean_average_precision(embedding, table, any_negatives("label"), null_size=10)
    # The coarse grid, 1e-9, sees items 1 to 4 as one. Item 1 ties with 4, before 2 and then 3.
    wanted = np.mean([np.mean([1, 2 / 4]), np.mean([1 / 2, 2 / 4])])
    assert found.profiles.average_precision[0] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("size", [1, 40, 300, 3000])
def test_all_ways_of_counting_agree_with_a_loop(size):
    rng = np.random.default_rng(size)
    near = rng.integers(-9, 9, size=(4, size)).astype(np.int32)
    for count, slack in itertools.product((0, 1, 30, 900), (0, 1)):
        row = np.sort(rng.integers(0, 4, count))
        value = rng.integers(-9, 9, count).astype(np.int32)
        above, reached = _count_above(near.copy(), row, value, slack)
        np.testing.assert_array_equal(
            above, [(near[r] > v + slack).sum() for r, v in zip(row, value, strict=True)]
        )
        np.testing.assert_array_equal(
            reached, [(near[r] >= v - slack).sum() for r, v in zip(row, value, strict=True)]
        )


@pytest.mark.parametrize("pairs", DEFINED.values())
def test_the_order_of_profiles_changes_nothing(pairs):
    embedding, table = plates()
    embedding = np.concatenate([embedding[:40], embedding[:20]])  # with ties
    shuffle = np.random.default_rng(0).permutation(60)
    wanted = mean_average_precision(embedding, table, pairs)
    found = mean_average_precision(embedding[shuffle], table.iloc[shuffle], pairs)
    assert (found.profiles.index == table.index[shuffle]).all()
    pd.testing.assert_frame_equal(found.profiles.sort_index(), wanted.profiles, atol=1e-12, rtol=0)
    pd.testing.assert_frame_equal(found.groups, wanted.groups, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("positives", "total"), [(1, 2), (1, 5), (3, 7), (5, 6), (4, 4), (40, 60)])
def test_shuffles_have_the_distribution_of_all_rankings(positives, total):
    drawn = random_average_precision(positives, total, 20_000, seed=3)
    wanted = expected_average_precision(positives, total)
    assert drawn.mean() == pytest.approx(wanted, abs=5 * drawn.std() / np.sqrt(20_000) + 1e-12)
    if total > 10:
        return
    hits = np.arange(1, positives + 1)
    places = np.array(list(itertools.combinations(range(1, total + 1), positives)))
    every = (hits / places).mean(1).round(9)
    values, shares = np.unique(every, return_counts=True)
    for value, share in zip(values, shares / len(every), strict=True):
        found = (np.abs(drawn - value) < 1e-6).mean()
        assert found == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / 20_000) + 1e-12)


def test_p_values_of_noise_are_even():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"label": np.arange(400) // 2})
    found = mean_average_precision(rng.normal(size=(400, 30)), table, any_negatives("label"))
    for level in (0.05, 0.2, 0.5):
        assert (found.profiles.p_value <= level).mean() == pytest.approx(level, abs=0.1)


def test_perfect_short_rankings_are_rare_only_where_ties_do_not_count():
    embedding = np.array([[1.0, 0], [1, 0.1], [0, 1]])
    table = pd.DataFrame({"label": list("aab")})
    pairs = any_negatives("label")
    lenient = mean_average_precision(embedding, table, pairs, null_size=1000)
    strict = mean_average_precision(embedding, table, pairs, null_size=1000, count_ties=True)
    assert lenient.groups.p_value["a"] == pytest.approx(1 / 1001)
    assert strict.groups.p_value["a"] == pytest.approx(0.5, abs=0.08)
    np.testing.assert_allclose(strict.profiles.p_value[:2], 0.5, atol=0.08)


def test_size_does_not_matter_and_nothing_is_written_to():
    embedding, table = plates()
    kept = embedding.copy()
    wanted = mean_average_precision(embedding, table, any_negatives("label"))
    np.testing.assert_array_equal(embedding, kept)
    for size in (1e-200, 1e200):
        found = mean_average_precision(embedding * size, table, any_negatives("label"))
        pd.testing.assert_frame_equal(found.profiles, wanted.profiles)


def test_arguments_that_make_no_sense():
    embedding, table = plates()
    pairs = any_negatives("label")
    with pytest.raises(ValueError, match="the table has 60 rows, but the embedding has 59"):
        mean_average_precision(embedding[1:], table, pairs)
    for wrong in (embedding[:, 0], embedding[:, :0], embedding[None]):
        with pytest.raises(ValueError, match="matrix"):
            mean_average_precision(wrong, table, pairs)
    with pytest.raises(ValueError, match="no column 'compound'"):
        mean_average_precision(embedding, table, any_negatives("compound"))
    with pytest.raises(ValueError, match="'batch' must be boolean"):
        mean_average_precision(embedding, table, control_negatives("label", "well", "batch"))
    gap = table.assign(label=table.label.where(table.index != 2))
    with pytest.raises(ValueError, match="'label' has no value for profile 2"):
        mean_average_precision(embedding, gap, pairs)
    for name in ("null_size", "entries"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            mean_average_precision(embedding, table, pairs, **{name: 0})
    with pytest.raises(ValueError, match="threads must be at least 1, not -1"):
        mean_average_precision(embedding, table, pairs, threads=-1)
    with pytest.raises(ValueError, match="must be 'cpu' or 'cuda'"):
        mean_average_precision(embedding, table, pairs, device="meta")
    embedding[7, 1] = np.inf
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in 1 of 60 rows.*row 7"):
        mean_average_precision(embedding, table, pairs)
