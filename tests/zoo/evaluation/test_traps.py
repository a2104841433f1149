"""Tables and embeddings that tempt to a wrong verdict."""

import numpy as np
import pandas as pd
import pytest
from zoo.registry import EncoderSpec

import zoo
from zoo import errors, plugin
from zoo._evaluation.contenders import Contender
from zoo._evaluation.tasks import Question, distinct_labelings, permute
from zoo._evaluation.traps import copies_across_groups, determined_by


def plates(labels, plates=8):
    """Each plate has every label once, or each has the labels of its own list."""
    own = labels if isinstance(labels[0], list) else [labels] * plates
    return pd.DataFrame(
        {
            "label": [label for some in own for label in some],
            "plate": [f"P{k}" for k, some in enumerate(own) for _ in some],
        }
    )


def noise(table, seed=0, dimensions=16):
    return np.random.default_rng(seed).normal(size=(len(table), dimensions)).astype("f4")


def judged(table, matrix, controls=None, **columns):
    kinds = [zoo.Task(kind=k, target="label", title="label") for k in ("retrieval", "knn", "probe")]
    given = {
        name: plugin.Precomputed(name, lambda rows=rows: rows, "control", "statistics")
        for name, rows in (controls or {"noise": noise(table, 99)}).items()
    }
    design = zoo.Design(label="label", group="plate", tasks=tuple(kinds), **columns)
    data = zoo.Dataset("mine", table, None, None, given, design)
    mine = zoo.Embeddings(matrix, table, {"encoder": "mine"})
    names = [f"precomputed:{name}" for name in given]
    return zoo.evaluate(mine, data, controls=names, permutations=99)


def outcomes(result):
    return {row.verdict.outcome for row in result.rows}


def test_near_copies_in_other_groups_are_no_signal():
    table = plates(list("aabbccdd"))
    matrix = noise(table)
    matrix[32:] = matrix[:32] + 1e-3 * noise(table)[32:]
    result = judged(table, matrix)
    assert "beats all controls" not in outcomes(result)
    withheld = [r.verdict for r in result.rows if "without copies in several" in r.verdict.summary]
    assert withheld
    assert all(np.isnan(v.p_value) and v.outcome == "no verdict" for v in withheld)
    assert withheld[0].summary.endswith("in several plates, 4 groups are too few")
    (warning,) = result.warnings
    assert warning.startswith("64 items are copies or near copies of items in other plates")
    assert "rows 0 and 32; 1 and 33" in warning
    assert warning in " ".join(str(result).split())


def test_copies_among_items_that_are_groups_of_their_own():
    table = plates([["a"], ["b"]] * 20)
    matrix = noise(table)
    assert judged(table, matrix).warnings == ()
    matrix[39] = matrix[3] + 1e-3
    assert judged(table, matrix).warnings[0].startswith("2 items are copies")


def test_a_signal_beside_some_copies_is_one():
    table = plates(list("aabbccdd"))
    matrix = noise(table) + 4 * pd.get_dummies(table["label"]).to_numpy("f4") @ np.eye(4, 16)
    matrix[60] = matrix[4]
    result = judged(table, matrix.astype("f4"))
    assert outcomes(result) == {"beats all controls"}
    assert result.warnings[0].startswith("2 items are copies")


def contender(matrix, table, control=None):
    spec = EncoderSpec(
        name="x",
        builder="m:f",
        summary="s",
        **({"role": "control", "control": control} if control else {}),
    )
    return Contender(spec, (zoo.Embeddings(matrix, table, {}),))


def test_equal_embeddings_of_different_images_are_no_copies():
    table = plates(list("abcd"))
    perfect = pd.get_dummies(table["label"]).to_numpy("f4")
    groups = table["plate"].to_numpy()
    alone = {"e": contender(perfect, table)}
    assert copies_across_groups(alone, groups, images=True), (
        "without images nothing tells them apart"
    )
    seen = {**alone, "pixels": contender(noise(table), table, "statistics")}
    assert copies_across_groups(seen, groups, images=True) == []


def test_a_label_that_a_batch_tells_is_said_in_the_headline():
    own = [list("aaaabbbb")] * 8
    table = plates(own)
    table["day"] = np.where(table["label"] == "a", "monday", "tuesday")
    table["stain"] = "x"
    matrix = noise(table) + 5 * (table["day"] == "monday").to_numpy("f4")[:, None]
    result = judged(table, matrix.astype("f4"), batch="day", confounders=("stain",))
    assert "label is determined by day: a score is no evidence of biology" in result.headline
    assert "stain" not in result.headline
    table.loc[table.index[::32], "day"] = "tuesday"
    assert determined_by(table, result.dataset.design) == {"day": "nearly determined"}


def test_what_is_nested_in_the_groups_tells_nothing():
    """A patient has one diagnosis and several slides; folds hold out whole patients."""
    table = plates([["a"] * 4, ["b"] * 4] * 5)
    table["slide"] = table["plate"] + np.tile(list("1122"), 10)
    design = zoo.Design(label="label", group="plate", batch="slide", tasks=())
    assert determined_by(table, design) == {}
    table["site"] = np.where(table["label"] == "a", "north", "south")
    design = zoo.Design(label="label", group="plate", confounders=("site",), tasks=())
    assert determined_by(table, design) == {"site": "determined"}


@pytest.mark.parametrize(
    ("sizes", "count"), [((4, 4), 35), ((3, 4), 35), ((2, 6), 28), ((2, 2, 2), 15)]
)
def test_few_labelings_are_no_chance(sizes, count):
    own = [[label] * 4 for label, n in zip("abc", sizes, strict=False) for _ in range(n)]
    table = plates(own)
    perfect = pd.get_dummies(table["label"]).to_numpy("f4") + 1e-3 * noise(table)[:, : len(sizes)]
    result = judged(table, perfect)
    assert outcomes(result) == {"no verdict"}
    assert f"allow only {count} distinct labelings" in result.rows[0].verdict.summary


def test_a_perfect_embedding_of_labels_constant_in_groups_beats_noise():
    table = plates([["a"] * 4, ["b"] * 4] * 6)
    perfect = pd.get_dummies(table["label"]).to_numpy("f4") + 0.1 * noise(table)[:, :2]
    assert outcomes(judged(table, perfect)) == {"beats all controls"}


@pytest.mark.parametrize("kind", ["knn", "dose"])
@pytest.mark.parametrize("own", [[[1], [1], [2], [2]], [[1, 2], [1, 2], [1, 3]], [[1], [2], [3]]])
def test_labelings_are_counted_as_they_are_drawn(own, kind):
    table = plates(own)
    question = Question(
        zoo.Task(kind=kind, target="label", title="t"),
        np.arange(len(table)),
        table["label"].to_numpy(),
        table["plate"].to_numpy(),
    )
    orders = permute(question.truth, question.groups, 2000, 0)

    def alike(labels):
        """One of the labelings that a readout cannot tell from this one."""
        if kind == "dose":
            values = np.unique(labels)
            mirrored = dict(zip(values, values[::-1], strict=True))
            other = tuple(mirrored[x] for x in labels)
            same = sorted(other) == sorted(labels)
            return min(tuple(labels), other) if same else tuple(labels)
        sizes = {x: labels.tolist().count(x) for x in labels}
        order = {x: (sizes[x], labels.tolist().index(x)) for x in sizes}
        ranked = {x: k for k, x in enumerate(sorted(sizes, key=order.get))}
        return tuple(ranked[x] for x in labels)

    drawn = {alike(question.truth[column]) for column in orders.T}
    assert distinct_labelings(question) == pytest.approx(len(drawn), abs=1)


def test_a_label_that_is_its_group_is_refused():
    table = plates([["a"] * 4, ["b"] * 4, ["c"] * 4])
    with pytest.raises(errors.EvaluationError, match=r"12 item.*occurs in one plate only"):
        judged(table, noise(table))


def test_a_class_in_one_group_only_is_left_out_and_said():
    table = plates([*[list("aabb")] * 7, list("aabbzz")])
    row = judged(table, noise(table)).rows[0]
    assert row.left_out == ("2 item(s) whose label occurs in one plate only",)


@pytest.mark.parametrize("strength", [0, 6])
def test_a_rare_class_and_labels_that_are_numbers(strength):
    table = plates([[7] * 19 + [11]] * 12)
    matrix = noise(table)
    matrix[:, 0] += strength * (table["label"] == 11)
    found = outcomes(judged(table, matrix))
    assert found == ({"beats all controls"} if strength else {"at chance"})


def test_the_same_embedding_twice_is_no_better():
    table = plates(list("aabbccdd"))
    matrix = noise(table) + 1.5 * pd.get_dummies(table["label"]).to_numpy("f4") @ np.eye(4, 16)
    matrix = matrix.astype("f4")
    for row in judged(table, matrix, {"same": matrix, "noise": noise(table, 5)}).rows:
        verdict = row.verdict
        assert (verdict.outcome, verdict.control) == ("no better than", "precomputed:same")
        assert (verdict.gap, verdict.low, verdict.high) == (0, 0, 0)


def test_ties_are_nobodys_gain():
    """Embeddings of two values: most rankings are ties."""
    table = plates(list("aabbccdd"))
    result = judged(table, np.sign(noise(table, dimensions=1)))
    assert outcomes(result) <= {"at chance", "undecided", "no better than"}
