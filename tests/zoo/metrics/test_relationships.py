"""Relationship recall against a loop, at its ends and at chance."""

import itertools

import numpy as np
import pandas as pd
import pytest

from zoo.metrics import relationship_recall


def screen(perturbations=40, replicates=3, features=8, seed=0, pathways=0, strength=2.0):
    """Draw profiles of perturbations, of which neighbours in name may share a pathway."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(perturbations, features))
    if pathways:
        centres += (
            strength * rng.normal(size=(pathways, features))[np.arange(perturbations) % pathways]
        )
    names = np.array([f"gene {i}" for i in range(perturbations)])
    rows = np.repeat(centres, replicates, axis=0)
    rows = rows + 0.3 * rng.normal(size=rows.shape)
    return rows, np.repeat(names, replicates)


def naive_percentiles(embedding, perturbations, pairs, take):
    """Rank each pair among all by loops, ties in their middle."""
    mean = {p: take(embedding[perturbations == p], axis=0) for p in set(perturbations)}

    def cosine(a, b):
        a, b = mean[a], mean[b]
        return a @ b / np.sqrt((a @ a) * (b @ b))

    every = [cosine(a, b) for a, b in itertools.combinations(sorted(mean), 2)]
    found = []
    for a, b in pairs:
        own = cosine(a, b)
        lower = sum(other < own - 1e-12 for other in every)
        equal = sum(abs(other - own) <= 1e-12 for other in every)
        found.append((lower + equal / 2) / len(every))
    return np.array(found), len(every)


@pytest.mark.parametrize("rows", [1, 7, 500])
@pytest.mark.parametrize("aggregate", ["mean", "median"])
def test_recall_equals_a_loop_whatever_the_block(rows, aggregate):
    embedding, names = screen(pathways=6)
    related = [(f"gene {a}", f"gene {b}") for a, b in itertools.combinations(range(40), 2)][::7]
    found = relationship_recall(embedding, names, related, aggregate=aggregate, rows=rows)
    wanted, compared = naive_percentiles(
        embedding,
        names,
        zip(found.pairs["first"], found.pairs["second"], strict=True),
        getattr(np, aggregate),
    )
    assert (found.perturbations, found.compared, len(found.pairs)) == (40, compared, len(related))
    assert {frozenset(p) for p in related} == {
        frozenset(p) for p in zip(found.pairs["first"], found.pairs["second"], strict=True)
    }
    np.testing.assert_allclose(found.pairs["percentile"], wanted, atol=1e-12)
    assert found.upper == pytest.approx((wanted >= 0.95).mean())
    assert found.outer == pytest.approx(((wanted >= 0.95) | (wanted <= 0.05)).mean())
    assert found.variant.startswith(f"{aggregate} of profiles, cosine")
    assert not found.notes


def test_pairs_alike_and_opposite_are_recalled_and_only_outer_counts_the_opposite():
    rng = np.random.default_rng(0)
    sides = rng.normal(size=(30, 16))
    # Of each pair of rows the second is alike in the first half, and opposite in the other.
    partner = np.where(np.arange(30)[:, None] < 15, sides, -sides)
    embedding = np.concatenate([sides, partner]) + 0.01 * rng.normal(size=(60, 16))
    names = np.array([f"p{i}" for i in range(60)])
    related = [(f"p{i}", f"p{i + 30}") for i in range(30)]
    found = relationship_recall(embedding, names, related)
    assert (found.outer, found.upper) == (1.0, 0.5)
    assert (found.chance_outer, found.chance_upper) == (0.1, 0.05)


def test_pairs_at_random_are_recalled_at_chance():
    embedding, names = screen(perturbations=150, replicates=2, seed=3)
    every = list(itertools.combinations(sorted(set(names)), 2))
    rng = np.random.default_rng(0)
    related = [every[i] for i in rng.choice(len(every), 4000, replace=False)]
    found = relationship_recall(embedding, names, related)
    # 4000 draws of a share of 0.1: the sd is 0.005.
    assert found.outer == pytest.approx(0.10, abs=0.02)
    assert found.upper == pytest.approx(0.05, abs=0.015)
    complete = relationship_recall(embedding, names, every)
    assert complete.outer == pytest.approx(0.10, abs=2 / len(every))
    assert complete.upper == pytest.approx(0.05, abs=2 / len(every))


def test_what_is_left_out_is_said():
    embedding, names = screen()
    names = names.astype(object)
    names[-1] = None
    related = pd.DataFrame(
        {
            "a": ["gene 0", "gene 1", "gene 2", "gene 3", "elsewhere", "far", "away", "gone"],
            "b": ["gene 1", "gene 0", "gene 2", "gene 4", "gene 5", "gene 6", "gene 7", "gene 8"],
        }
    )
    found = relationship_recall(embedding, names, related)
    assert len(found.pairs) == 2
    assert found.notes == (
        "1 profile(s) without a perturbation are left out.",
        "1 pair(s) of a perturbation with itself are left out.",
        "4 pair(s) are not in the data (elsewhere, far, away, …).",
        "1 repeated pair(s) count once.",
    )
    none = relationship_recall(embedding, names, [("x", "y")])
    assert np.isnan([none.outer, none.upper]).all()
    assert none.notes[-1] == "No annotated pair is in the data."
    assert np.isnan(relationship_recall(embedding, names, []).outer)


def test_embeddings_that_cannot_tell_give_no_number():
    related = [("a", "b")]
    names = np.array(list("abcdefgh"))
    flat = relationship_recall(np.ones((8, 3)), names, related)
    assert np.isnan([flat.outer, flat.upper]).all()
    assert "All pairs of perturbations are equally similar" in flat.notes[0]
    rng = np.random.default_rng(0)
    few = relationship_recall(rng.normal(size=(4, 3)), names[:4], related)
    assert np.isnan(few.outer)
    assert "6 pair(s) of perturbations are too few for a tail of 0.05" in few.notes[0]
    rows = rng.normal(size=(8, 3))
    rows[7] = 0
    zero = relationship_recall(np.concatenate([rows, -rows[6:7]]), np.append(names, "g"), related)
    assert zero.perturbations == 6
    assert "2 perturbation(s) of aggregate zero are left out." in zero.notes
    near = relationship_recall(100 + rng.normal(size=(30, 3)), np.arange(30), [(0, 1)])
    assert "align profiles on controls" in near.notes[0]
    assert not np.isnan(near.outer)
    one = relationship_recall(rng.normal(size=(5, 3)), np.zeros(5), [(0, 1)])
    assert np.isnan(one.outer)


def test_size_overflows_nothing():
    embedding, names = screen()
    related = [("gene 0", "gene 5"), ("gene 2", "gene 9")]
    wanted = relationship_recall(embedding, names, related).pairs["percentile"]
    for size in (1e-300, 1e300):
        found = relationship_recall(embedding * size, names, related).pairs["percentile"]
        np.testing.assert_allclose(found, wanted)


def test_wrong_arguments():
    embedding, names = screen()
    for settings, words in [
        ({"tail": 0.5}, "tail"),
        ({"rows": 0}, "rows"),
        ({"aggregate": "sum"}, "aggregate"),
    ]:
        with pytest.raises(ValueError, match=words):
            relationship_recall(embedding, names, [], **settings)
    with pytest.raises(ValueError, match="one name for each of 120 profiles"):
        relationship_recall(embedding, names[1:], [])
    with pytest.raises(ValueError, match="pairs of names, not 3 columns"):
        relationship_recall(embedding, names, [("a", "b", "c")])
    with pytest.raises(ValueError, match="matrix"):
        relationship_recall(embedding[0], names, [])
    embedding[4, 2] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in 1 of 120 rows.*row 4"):
        relationship_recall(embedding, names, [])
