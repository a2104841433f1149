"""Profiles of groups, against pandas."""

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo import errors


def profiles(rows=40):
    rng = np.random.default_rng(0)
    plate, well = rng.integers(0, 2, rows), rng.integers(0, 3, rows)
    table = pd.DataFrame(
        {
            "Plate": [f"{p:03d}" for p in plate],
            "Well": [f"A{w + 1:02d}" for w in well],
            "Site": [str(i) for i in range(rows)],
            "dose": plate * 10 + well,
            "compound": [None if w == 0 else f"c{w}" for w in well],
        }
    )
    matrix = rng.normal(size=(rows, 5)).astype(np.float32)
    return zoo.Embeddings(matrix, table, {"zoo": "0", "encoder": "mine"})


@pytest.mark.parametrize("method", ["mean", "median"])
@pytest.mark.parametrize("by", [("Metadata_Plate", "Metadata_Well"), ("Well",)])
def test_groups_are_those_of_pandas(method, by):
    items = profiles()
    found = zoo.aggregate(items, by, method=method)
    names = [name.removeprefix("Metadata_") for name in by]
    frame = pd.concat([items.metadata[names], pd.DataFrame(items.matrix.astype(float))], axis=1)
    expected = frame.groupby(names).agg(method)
    # Sums in another order differ in the last bits of float64; the result is float32.
    np.testing.assert_allclose(found.matrix, expected.to_numpy(), rtol=1e-6)
    assert found.metadata[names].to_numpy().tolist() == expected.index.to_frame().values.tolist()


def test_constant_metadata_are_kept_and_others_named():
    found = zoo.aggregate(profiles())
    assert list(found.metadata.columns) == ["Plate", "Well", "dose", "compound"]
    assert found.metadata["compound"].isna().tolist() == [True, False, False] * 2
    assert found.metadata["dose"].tolist() == [0, 1, 2, 10, 11, 12]
    said = found.provenance["aggregated"]
    assert said == {"by": ["Plate", "Well"], "method": "mean", "items": 40, "dropped": ["Site"]}


@pytest.mark.parametrize(
    ("by", "method", "error", "said"),
    [
        (["Metadata_Wel"], "mean", errors.DataError, "no column Metadata_Wel.*mean 'Well'"),
        (["compound"], "mean", errors.DataError, "of 40 profiles have no compound"),
        ("Well", "mean", ValueError, "sequence of columns"),
        (["Well"], "max", ValueError, "'mean' or 'median'"),
    ],
)
def test_what_makes_no_groups_is_refused(by, method, error, said):
    with pytest.raises(error, match=said):
        zoo.aggregate(profiles(), by, method=method)
