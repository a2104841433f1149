"""Images and embeddings in memory, evaluated by the columns of their tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo import errors
from zoo._evaluation import contenders

GROUPS, DOSES, SIDE = 8, 4, 48


@pytest.fixture(scope="module")
def plate():
    """Images whose brightness is the dose, without a design."""
    table = pd.DataFrame(
        {
            "dose": np.tile(np.arange(DOSES), GROUPS),
            "plate": np.repeat([f"P{i}" for i in range(GROUPS)], DOSES),
            "site": np.tile(np.repeat([1, 2], 2), GROUPS),
        }
    )
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 60, (len(table), 2, SIDE, SIDE)).astype(np.uint8)
    planes += (40 * table["dose"].to_numpy(np.uint8))[:, None, None, None]
    return zoo.Dataset("mine", table, [zoo.Image(p) for p in planes].__getitem__)


def scores(result):
    return {f"{row.task}, {row.metric}": row.estimates[result.encoder].value for row in result.rows}


@pytest.mark.slow
def test_images_in_memory_are_evaluated_by_column(plate):
    by_column = zoo.evaluate(
        "pixel-statistics", plate, label="dose", group="plate", controls=["constant"]
    )
    design = zoo.Design(label="dose", group="plate")
    by_design = zoo.evaluate("pixel-statistics", plate, design=design, controls=["constant"])
    assert scores(by_column) == scores(by_design)
    assert by_column.dataset.design.tasks
    assert max(scores(by_column).values()) > 0.9
    assert {t.kind for t in by_column.dataset.design.tasks} == {"dose", "retrieval", "knn", "probe"}


@pytest.mark.slow
def test_embeddings_in_memory_are_evaluated_by_column(plate):
    found = zoo.embed(plate, "pixel-statistics")
    table = replace(found, provenance={"encoder": "mine"})
    result = zoo.evaluate(table, label="dose", group="plate")
    assert result.encoder == "mine"
    assert max(scores(result).values()) > 0.9


@pytest.mark.slow
def test_columns_take_the_place_of_a_datasets_own_design(plate):
    tasks = (zoo.Task(kind="dose", target="dose", title="the dose"),)
    own = zoo.Design(label="dose", group="plate", tasks=tasks, batch="site")
    known = replace(plate, design=own)
    asked = {"controls": ["constant"]}
    same = zoo.evaluate("object-density", known, group="site", **asked).dataset.design
    assert (same.tasks, same.group, same.batch) == (tasks, "site", "site")
    other = zoo.evaluate("object-density", known, label="site", **asked).dataset.design
    assert (other.label, other.group) == ("site", "plate")
    assert {t.target for t in other.tasks} == {"site"}
    assert known.design is own


def test_what_is_missing_or_given_twice_is_said(plate):
    with pytest.raises(ValueError, match=r"label= and group=.*; it has dose, plate, site"):
        zoo.evaluate("object-density", plate)
    with pytest.raises(ValueError, match="label= and group="):
        zoo.evaluate("object-density", plate, label="dose")
    with pytest.raises(errors.DataError, match=r"lacks the metadata column.* plaet; .*plate"):
        zoo.evaluate("object-density", plate, label="dose", group="plaet")
    design = zoo.Design(label="dose", group="plate")
    with pytest.raises(ValueError, match="not both"):
        zoo.evaluate("object-density", plate, label="dose", design=design)
    with pytest.raises(errors.UnknownNameError, match="phantom"):
        zoo.evaluate("object-density", "fantom")


def test_a_design_lists_its_columns_once():
    task = zoo.Task(kind="knn", target="drug", title="drug", where={"kind": ("sample",)})
    design = zoo.Design(
        label="drug", group="plate", batch="plate", tasks=(task,), negative={"kind": ("dmso",)}
    )
    assert design.columns == ("drug", "plate", "kind")


@pytest.mark.parametrize("kinds", [(1, 2), (2, 1), (2, 2)])
def test_controls_follow_the_channels_that_images_turn_out_to_have(plate, kinds, monkeypatch):
    """No image is read for its channels alone: a later one may have others than the first."""
    read = []

    def some(i):
        read.append(i)
        return zoo.Image(plate[i].pixels[: kinds[i % 2]])

    monkeypatch.setattr(contenders, "CONTROLS", ("constant", "pixel-statistics"))
    found, _ = contenders.embed_contenders("object-density", replace(plate, read=some), seeds=1)
    alike = kinds == (2, 2)
    joined = "pixel-statistics" if alike else "pixel-statistics-mean"
    assert list(found) == ["object-density", "constant", joined]
    if alike:
        assert sorted(read) == [0, *range(len(plate))]  # the first says how many channels there are
