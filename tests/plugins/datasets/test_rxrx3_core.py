"""RxRx3-core from a miniature in the layout of the hub: one table, one file of embeddings."""

import numpy as np
import pandas as pd
import pytest
from zoo.plugins.datasets import rxrx3_core

import zoo
from zoo import errors
from zoo._data.sources import load_dataset

FEATURES = 4


def wells(experiments=("gene-001", "gene-002", "compound-001", "compound-002"), plates=(1, 2)):
    """Each plate has an empty well, a control, and two guides of two genes or a compound."""
    rows = []
    for experiment in experiments:
        genes = experiment.startswith("gene")
        for plate in plates:
            for i, (gene, treatment, dose) in enumerate(
                [
                    (None, "EMPTY_control", None),
                    ("PLK1", "CRISPR_control", None) if genes else (None, "EMPTY_control", None),
                    *(
                        [(g, f"{g}_guide_{k}", None) for g in ("NA", "MTOR") for k in (1, 2)]
                        if genes
                        else [(None, c, d) for c in ("drug a", "drug b") for d in (0.25, 10.0)]
                    ),
                ]
            ):
                address = f"{'ABCDZ'[i % 5] if i < 5 else 'AA'}{i + 1:02d}"
                rows.append(
                    {
                        "well_id": f"{experiment}_{plate}_{address}",
                        "experiment_name": experiment,
                        "plate": plate,
                        "address": address,
                        "gene": gene,
                        "treatment": treatment,
                        "SMILES": None if genes else "CCO",
                        "concentration": dose,
                        "perturbation_type": "CRISPR" if genes else "COMPOUND",
                        "cell_type": "HUVEC",
                    }
                )
    return pd.DataFrame(rows)


def vectors(ids):
    """Numbers that tell the well."""
    seeds = [sum(map(ord, w)) * 31 + len(w) for w in ids]
    return np.stack([np.random.default_rng(s).standard_normal(FEATURES) for s in seeds]).astype(
        np.float32
    )


def save(folder, table, ids=None, order=None):
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / rxrx3_core.METADATA, index=False)
    ids = list(table["well_id"]) if ids is None else ids
    if order is not None:
        ids = [ids[i] for i in order]
    frame = pd.DataFrame(vectors(ids), columns=[f"feature_{i}" for i in range(FEATURES)])
    frame.insert(0, "well_id", ids)
    frame.to_parquet(folder / rxrx3_core.EMBEDDINGS)
    return folder


def open_profiles(path=None):
    return load_dataset("rxrx3-core", path)


def test_rows_belong_together_whatever_the_order_of_the_files(tmp_path):
    table = wells()
    order = np.random.default_rng(0).permutation(len(table))
    dataset = open_profiles(save(tmp_path, table, order=order))
    ids = dataset.metadata["well_id"].tolist()
    assert ids == table["well_id"].iloc[order].tolist()
    matrix = dataset.profiles["openphenom"].read()
    assert matrix.dtype == np.float32
    assert matrix.tolist() == vectors(ids).tolist()
    for column in ("treatment", "address", "cell_type"):
        assert dataset.metadata[column].tolist() == table[column].iloc[order].tolist()


def test_what_each_well_is(tmp_path):
    found = open_profiles(save(tmp_path, wells())).metadata.set_index("well_id")
    columns = ["control", "gene_or_compound", "perturbation", "top_concentration", "row", "column"]
    said = {w: found.loc[w, columns].tolist() for w in found.index}
    empty = ["negative", "EMPTY_control", "EMPTY_control", "no"]
    assert said["gene-001_1_A01"] == [*empty, 1, 1]
    control = ["other control", "CRISPR_control", "CRISPR_control", "no"]
    assert said["gene-001_1_B02"] == [*control, 2, 2]
    # A gene called NA is a gene.
    assert said["gene-001_1_C03"] == ["sample", "NA", "NA_guide_1", "no", 3, 3]
    assert said["gene-002_2_AA06"] == ["sample", "MTOR", "MTOR_guide_2", "no", 27, 6]
    assert said["compound-001_1_C03"] == ["sample", "drug a", "drug a at 0.25", "no", 3, 3]
    assert said["compound-002_1_D04"] == ["sample", "drug a", "drug a at 10", "yes", 4, 4]
    assert found.loc["compound-002_1_D04", "experiment_plate"] == "compound-002/1"


def test_there_are_embeddings_but_no_images(tmp_path):
    dataset = open_profiles(save(tmp_path, wells()))
    with pytest.raises(
        errors.DataError, match="no images, only embeddings: precomputed:openphenom"
    ):
        dataset[0]


def test_experiments_are_the_groups_where_replicates_cross_them(tmp_path):
    crossing = open_profiles(save(tmp_path / "a", wells())).spec
    assert crossing.design.group == "experiment_name"
    assert [t.title for t in crossing.design.tasks] == ["guides", "genes", "compounds"]
    table = wells()
    mine = table["perturbation_type"] == "CRISPR"
    table.loc[mine, "treatment"] += " of " + table.loc[mine, "experiment_name"]
    table.loc[mine & table["treatment"].str.startswith("EMPTY"), "treatment"] = "EMPTY_control"
    apart = open_profiles(save(tmp_path / "b", table)).spec
    assert apart.design.group == "experiment_plate"
    assert any("Only 4 of 14 perturbations occur in more than one" in n for n in apart.notes)


def test_tasks_without_wells_are_left_out_with_a_note(tmp_path):
    table = wells(("gene-001", "gene-002"))
    spec = open_profiles(save(tmp_path, table)).spec
    assert [t.title for t in spec.design.tasks] == ["guides", "genes"]
    assert any(n.startswith("compounds (retrieval) is left out") for n in spec.notes)


def test_wells_without_embedding_are_counted(tmp_path):
    table = wells()
    dataset = open_profiles(save(tmp_path, table, ids=list(table["well_id"][3:])))
    assert len(dataset) == len(table) - 3
    assert any(
        "3 well(s) of metadata_rxrx3_core.csv have no embed" in n for n in dataset.spec.notes
    )


def test_it_can_be_evaluated(tmp_path):
    dataset = open_profiles(save(tmp_path, wells(plates=range(4))))
    result = zoo.evaluate("precomputed:openphenom", dataset, control_seeds=2)
    assert [(row.task, row.n_groups) for row in result.rows] == [
        ("guides", 2),
        ("genes", 2),
        ("compounds", 2),
    ]
    # Random vectors, and a chance level to see it by.
    for row in result.rows:
        assert abs(row.estimates["precomputed:openphenom"].value - row.chance) < 0.35


@pytest.mark.parametrize("column", rxrx3_core.COLUMNS)
def test_missing_columns_are_named(tmp_path, column):
    save(tmp_path, wells())
    wells().drop(columns=column).to_csv(tmp_path / rxrx3_core.METADATA, index=False)
    with pytest.raises(errors.DataError, match=rf"lacks the column\(s\) {column}$"):
        open_profiles(tmp_path)


def test_files_that_do_not_go_together(tmp_path):
    table = wells()
    ids = list(table["well_id"])
    with pytest.raises(
        errors.DataError, match=r"does not know 1 of 49 wells in .* of them elsewhere"
    ):
        open_profiles(save(tmp_path, table, ids=[*ids, "elsewhere"]))
    with pytest.raises(
        errors.DataError, match=rf"{rxrx3_core.EMBEDDINGS} has the well {ids[0]} twice"
    ):
        open_profiles(save(tmp_path, table, ids=[*ids, ids[0]]))
    with pytest.raises(
        errors.DataError, match=rf"{rxrx3_core.METADATA} has the well {ids[0]} twice"
    ):
        open_profiles(save(tmp_path, pd.concat([table, table[:1]]), ids=ids))
    table.loc[2, "address"] = "C-3"
    with pytest.raises(errors.DataError, match="address 'C-3', which is not a row and a column"):
        open_profiles(save(tmp_path, table))


def test_broken_files(tmp_path):
    save(tmp_path, wells())
    (tmp_path / rxrx3_core.EMBEDDINGS).write_bytes(b"nothing")
    with pytest.raises(errors.DataError, match="not a readable Parquet"):
        open_profiles(tmp_path)
    pd.DataFrame({"feature_0": [1.0]}).to_parquet(tmp_path / rxrx3_core.EMBEDDINGS)
    with pytest.raises(errors.DataError, match="has no column well_id"):
        open_profiles(tmp_path)


def test_nan_is_refused_when_it_is_read(tmp_path):
    table = wells()
    save(tmp_path, table)
    file = tmp_path / rxrx3_core.EMBEDDINGS
    frame = pd.read_parquet(file)
    frame.loc[3, "feature_2"] = np.nan
    frame.to_parquet(file)
    with pytest.raises(errors.DataError, match=r"in 1 of 48 rows and 1 of 4 features.*feature_2"):
        open_profiles(tmp_path).profiles["openphenom"].read()


def test_without_the_files_it_says_what_to_fetch(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(errors.DataError) as caught:
        open_profiles()
    for part in (rxrx3_core.METADATA, rxrx3_core.EMBEDDINGS, "hf download", "--data"):
        assert part in str(caught.value)
    save(tmp_path / "cache" / "datasets" / "rxrx3-core", wells())
    assert len(open_profiles()) == 48
    (tmp_path / "cache" / "datasets" / "rxrx3-core" / rxrx3_core.METADATA).unlink()
    with pytest.raises(errors.DataError, match=r"lacks metadata_rxrx3_core\.csv: read the terms"):
        open_profiles()
