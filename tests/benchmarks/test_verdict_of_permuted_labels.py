"""The count of verdicts on permuted labels, on a small scale."""

import numpy as np
import pytest
import verdict_of_permuted_labels as benchmark

import zoo


def test_labels_change_places_within_their_group_only():
    data = zoo.load_dataset("phantom")
    table = benchmark.permuted(data.metadata, data.design, seed=0)
    targets = sorted({t.target for t in data.design.tasks})
    assert not table[targets].equals(data.metadata[targets])
    for plate, before in data.metadata.groupby(data.design.group):
        after = table[table[data.design.group] == plate]
        assert sorted(map(tuple, before[targets].to_numpy().tolist())) == sorted(
            map(tuple, after[targets].to_numpy().tolist())
        )
    assert (table.dtypes == data.metadata.dtypes).all()


@pytest.mark.slow
def test_an_encoder_that_sees_the_dose_is_at_chance_without_it():
    data = zoo.load_dataset("phantom")
    counts, praised = benchmark.outcomes(data, "pixel-statistics", ["object-density"], 1)
    assert sum(counts.values()) == len(data.design.tasks) + 1  # a dose is scored twice
    at_chance = sum(n for (_, outcome), n in counts.items() if outcome == "at chance")
    assert at_chance >= 4
    assert np.isin(praised, (0, 1))
