"""JUMP-CP from a miniature in the layout of the gallery: Parquet files and tables of metadata."""

import numpy as np
import pandas as pd
import pytest
from zoo.plugins.datasets import jump_cp_features, jump_cp_wells

import zoo
from zoo import errors
from zoo._data.sources import load_dataset

FEATURES = [
    "Cells_AreaShape_Area",
    "Cells_Intensity_MeanIntensity_DNA",
    "Nuclei_Intensity_MassDisplacement_ER",
    "Nuclei_Location_CenterMassIntensity_X_DNA",
    "Cells_Number_Object_Number",
    "Nuclei_Texture_Variance_RNA",
]
PLATES = [("source_1", "batch_a", "P1"), ("source_1", "batch_b", "P2"), ("source_2", "x", "P1")]
POSITIVE = list(jump_cp_wells.POSITIVE)
WELLS = {
    "A01": jump_cp_wells.DMSO,
    "A02": jump_cp_wells.DMSO,
    "A03": POSITIVE[0],
    "B01": POSITIVE[1],
    "B02": "JCP2022_000001",
    "B03": "JCP2022_000002",
    "C01": "JCP2022_900001",
    "C02": "JCP2022_915128",
    "C03": "JCP2022_800001",
    "AA04": "JCP2022_800100",
    "P24": "JCP2022_999999",
}


def number(source, plate, well, feature):
    """Value that tells where it belongs."""
    return float(np.random.default_rng([*map(ord, source + plate + well + feature)]).normal())


def profiles(source, plate, features=FEATURES, wells=WELLS):
    rows = [
        {
            "Metadata_Source": source,
            "Metadata_Plate": plate,
            "Metadata_Well": well,
            **{f: np.float32(number(source, plate, well, f)) for f in features},
        }
        for well in wells
    ]
    return pd.DataFrame(rows)


def write(path, frame):
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def save_tables(folder, suffix="csv.gz", wells=WELLS, but=()):
    tables = {
        "plate": pd.DataFrame(
            PLATES, columns=["Metadata_Source", "Metadata_Batch", "Metadata_Plate"]
        ).assign(Metadata_PlateType="TARGET2"),
        "well": pd.DataFrame(
            [(s, p, w, jcp) for s, _, p in PLATES for w, jcp in wells.items()],
            columns=["Metadata_Source", "Metadata_Plate", "Metadata_Well", "Metadata_JCP2022"],
        ),
        "compound": pd.DataFrame(
            {
                "Metadata_JCP2022": [
                    jump_cp_wells.DMSO,
                    *POSITIVE,
                    "JCP2022_000001",
                    "JCP2022_000002",
                ],
                "Metadata_InChIKey": [f"KEY{i}" for i in range(11)],
            }
        ),
        "orf": pd.DataFrame(
            {
                "Metadata_JCP2022": ["JCP2022_900001", "JCP2022_915128"],
                "Metadata_Symbol": ["NA", "BFP"],
                "Metadata_pert_type": ["trt", "negcon"],
            }
        ),
        "crispr": pd.DataFrame(
            {
                "Metadata_JCP2022": ["JCP2022_800001", "JCP2022_800100"],
                "Metadata_Symbol": ["no-guide", "MTOR"],
            }
        ),
    }
    for name, table in tables.items():
        if name not in but:
            write(folder / "metadata" / f"{name}.{suffix}", table)
    return folder


def save(folder, plates=PLATES, features=FEATURES, name="", **options):
    for source, batch, plate in plates:
        place = folder / source / "workspace" / "profiles" / batch / plate
        write(place / f"{plate}{name}.parquet", profiles(source, plate, features))
    return save_tables(folder, **options)


def expected(table, features):
    return [
        [np.float32(number(s, p.split("/")[1], w, f)) for f in features]
        for s, p, w in zip(table["source"], table["plate"], table["well"], strict=True)
    ]


def open_profiles(path=None):
    return load_dataset("jump-cp", path)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_plates_are_put_together(tmp_path, suffix):
    dataset = open_profiles(save(tmp_path, suffix=suffix))
    table = dataset.metadata
    assert len(table) == 33
    assert table["plate"].unique().tolist() == ["source_1/P1", "source_1/P2", "source_2/P1"]
    assert table["batch"].unique().tolist() == [
        "source_1/batch_a",
        "source_1/batch_b",
        "source_2/x",
    ]
    matrix = dataset.profiles["cellprofiler"].read()
    assert matrix.dtype == np.float32
    assert matrix.tolist() == expected(table, FEATURES)
    with pytest.raises(errors.DataError, match="no images, only embeddings"):
        dataset[0]


def test_what_each_well_is(tmp_path):
    table = open_profiles(save(tmp_path)).metadata
    plate = table[table["plate"] == "source_2/P1"].set_index("well")
    columns = ["control", "type", "gene_or_compound", "row", "column"]
    assert {w: plate.loc[w, columns].tolist() for w in plate.index if w != "P24"} == {
        "A01": ["negative", "compound", "DMSO", 1, 1],
        "A02": ["negative", "compound", "DMSO", 1, 2],
        "A03": ["positive", "compound", "aloxistatin", 1, 3],
        "B01": ["positive", "compound", "AMG900", 2, 1],
        "B02": ["sample", "compound", "JCP2022_000001", 2, 2],
        "B03": ["sample", "compound", "JCP2022_000002", 2, 3],
        "C01": ["sample", "orf", "NA", 3, 1],
        "C02": ["negative", "orf", "BFP", 3, 2],
        "C03": ["negative", "crispr", "no-guide", 3, 3],
        "AA04": ["sample", "crispr", "MTOR", 27, 4],
    }
    assert plate.loc["P24", "control"] == "untreated"
    assert pd.isna(plate.loc["P24", "gene_or_compound"])
    assert plate["jcp2022"].to_dict() == WELLS


def test_controls_are_carved_from_the_features(tmp_path):
    dataset = open_profiles(save(tmp_path))
    count, intensity = dataset.profiles["cell-count"], dataset.profiles["intensity"]
    assert (count.role, count.control) == ("control", "structural")
    assert (intensity.role, intensity.control) == ("control", "statistics")
    table = dataset.metadata
    assert count.read().tolist() == expected(table, ["Cells_Number_Object_Number"])
    # The place of a centre of mass of intensity is no intensity.
    assert intensity.read().tolist() == expected(table, FEATURES[1:3])


@pytest.mark.parametrize("column", ["Metadata_Count_Cells", "Image_Count_Nuclei"])
def test_counts_go_by_several_names(tmp_path, column):
    features = [f for f in FEATURES if "Number" not in f] + [column]
    dataset = open_profiles(save(tmp_path, features=features))
    assert dataset.profiles["cell-count"].read().tolist() == expected(dataset.metadata, [column])
    wanted = [f for f in features if not f.startswith("Metadata")]
    assert dataset.profiles["cellprofiler"].read().tolist() == expected(dataset.metadata, wanted)


def test_sets_beside_each_other(tmp_path):
    save(tmp_path)
    save(tmp_path, features=FEATURES[:2], name="_normalized")
    frames = [profiles(s, p, ["X_1", "X_2"]) for s, _, p in PLATES]
    joined = pd.concat(frames, ignore_index=True).sample(frac=1, random_state=0)
    joined["Metadata_JCP2022"] = joined["Metadata_Well"].map(WELLS)
    dropped = joined.iloc[5]
    write(tmp_path / "all" / "harmony.parquet", joined.drop(index=dropped.name))
    write(tmp_path / "sphering" / "profiles.parquet", joined)
    dataset = open_profiles(tmp_path)
    assert list(dataset.profiles) == [
        "cellprofiler",
        "harmony",
        "normalized",
        "sphering",
        "cell-count",
        "intensity",
    ]
    table = dataset.metadata
    assert len(table) == 32
    for name, features in (
        ("cellprofiler", FEATURES),
        ("harmony", ["X_1", "X_2"]),
        ("normalized", FEATURES[:2]),
        ("sphering", ["X_1", "X_2"]),
    ):
        assert dataset.profiles[name].read().tolist() == expected(table, features)
    assert any("1 well(s) of cellprofiler are not in all sets" in n for n in dataset.spec.notes)
    assert "cellprofiler (3 files)" in dataset.profiles["cell-count"].summary


def test_features_with_holes_are_left_out_with_a_note(tmp_path):
    save(tmp_path)
    file = tmp_path / "source_2" / "workspace" / "profiles" / "x" / "P1" / "P1.parquet"
    frame = pd.read_parquet(file)
    frame.loc[2, FEATURES[1]] = np.nan
    frame.loc[3, FEATURES[5]] = np.inf
    write(file, frame)
    dataset = open_profiles(tmp_path)
    kept = [f for i, f in enumerate(FEATURES) if i not in (1, 5)]
    assert dataset.profiles["cellprofiler"].read().tolist() == expected(dataset.metadata, kept)
    assert dataset.profiles["intensity"].read().shape == (33, 1)
    (note,) = [n for n in dataset.spec.notes if "NaN" in n]
    assert note.startswith("2 of 6 features of cellprofiler")
    assert FEATURES[1] in note


def test_small_pieces_give_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(jump_cp_features, "VALUES_AT_A_TIME", 23)  # two columns of eleven rows
    dataset = open_profiles(save(tmp_path))
    matrix = dataset.profiles["cellprofiler"].read()
    assert matrix.tolist() == expected(dataset.metadata, FEATURES)


@pytest.mark.slow
def test_it_can_be_evaluated_beside_its_own_controls(tmp_path):
    # Two doses of truth: positive controls differ by a feature that is no count and no intensity.
    for source, batch, plate in PLATES:
        frame = profiles(source, plate)
        jcp = frame["Metadata_Well"].map(WELLS)
        shift = jcp.isin(POSITIVE[:1]) * 40.0 + jcp.isin(POSITIVE[1:]) * 80.0
        frame["Nuclei_Texture_Variance_RNA"] += shift.astype(np.float32)
        place = tmp_path / source / "workspace" / "profiles" / batch / plate
        write(place / f"{plate}.parquet", frame)
    result = zoo.evaluate("precomputed:cellprofiler", open_profiles(save_tables(tmp_path)))
    controls = result.rows[0]
    assert controls.task == "positive controls"
    assert {"precomputed:cell-count", "precomputed:intensity"} < set(controls.estimates)
    assert controls.estimates["precomputed:cellprofiler"].value > 0.9
    assert {row.task for row in result.rows} == {
        "positive controls",
        "positive control",
        "replicates",
    }


def test_tasks_that_the_plates_cannot_answer(tmp_path):
    wells = {w: j for w, j in WELLS.items() if j not in POSITIVE}
    for source, batch, plate in PLATES:
        write(
            tmp_path / source / "workspace" / "profiles" / batch / plate / f"{plate}.parquet",
            profiles(source, plate, wells=wells),
        )
    spec = open_profiles(save_tables(tmp_path)).spec
    assert [t.title for t in spec.design.tasks] == ["replicates"]
    assert sum("is left out" in n for n in spec.notes) == 3


def test_tables_that_may_be_missing(tmp_path):
    dataset = open_profiles(save(tmp_path, but=("compound", "orf", "crispr")))
    kinds = dataset.metadata.groupby("jcp2022")["control"].first()
    assert kinds[jump_cp_wells.DMSO] == "negative"
    assert kinds[POSITIVE[0]] == "positive"
    assert kinds["JCP2022_800001"] == "sample"
    assert any("18 well(s) have a JCP2022 number that is in none" in n for n in dataset.spec.notes)


@pytest.mark.parametrize("name", ["plate", "well"])
def test_tables_that_may_not_be_missing(tmp_path, name):
    with pytest.raises(errors.DataError, match=rf"lacks {name}\.csv"):
        open_profiles(save(tmp_path, but=(name,)))


def test_wells_without_a_number_take_no_part(tmp_path):
    wells = {w: j for w, j in WELLS.items() if w != "B02"}
    dataset = open_profiles(save(tmp_path, wells=wells))
    assert any("3 well(s) have no JCP2022 number" in n for n in dataset.spec.notes)
    assert (dataset.metadata["control"] == "unknown").sum() == 3


def test_missing_columns_are_named(tmp_path):
    save(tmp_path)
    file = tmp_path / "source_1" / "workspace" / "profiles" / "batch_a" / "P1" / "P1.parquet"
    write(file, profiles("source_1", "P1").drop(columns=["Metadata_Well", "Metadata_Source"]))
    with pytest.raises(
        errors.DataError, match=r"lacks the column\(s\) Metadata_Source, Metadata_Well$"
    ):
        open_profiles(tmp_path)
    write(file, profiles("source_1", "P1"))
    plates = tmp_path / "metadata" / "plate.csv.gz"
    pd.read_csv(plates).drop(columns="Metadata_Batch").to_csv(plates, index=False)
    with pytest.raises(
        errors.DataError, match=r"plate\.csv\.gz lacks the column\(s\) Metadata_Batch"
    ):
        open_profiles(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: pd.concat([f, f[:1]]), "has the well A01 of plate P2 twice"),
        (lambda f: f.rename(columns={FEATURES[0]: "Cells_Other"}), "differ in 2 feature"),
        (lambda f: f[:0], "has no rows"),
        (lambda f: f.assign(Metadata_Well="1-1")[:1], "'1-1', which is not a row and a column"),
        (lambda f: f.assign(Metadata_Plate="P9"), r"does not know the plate P9 of source_1"),
    ],
)
def test_profiles_that_cannot_be_used(tmp_path, change, message):
    save(tmp_path)
    file = tmp_path / "source_1" / "workspace" / "profiles" / "batch_b" / "P2" / "P2.parquet"
    write(file, change(profiles("source_1", "P2")))
    with pytest.raises(errors.DataError, match=message):
        open_profiles(tmp_path)


def test_sets_without_common_wells_or_features(tmp_path):
    save(tmp_path, plates=PLATES[:1])
    write(tmp_path / "other.parquet", profiles("source_2", "P1"))
    with pytest.raises(errors.DataError, match="cellprofiler, other have no well in common"):
        open_profiles(tmp_path)
    write(tmp_path / "other.parquet", profiles("source_1", "P1", []))
    with pytest.raises(errors.DataError, match=r"other\.parquet has no features"):
        open_profiles(tmp_path)
    (tmp_path / "other.parquet").write_bytes(b"nothing")
    with pytest.raises(errors.DataError, match=r"other\.parquet is not a readable Parquet"):
        open_profiles(tmp_path)


def test_a_file_with_the_name_of_a_control(tmp_path):
    save(tmp_path)
    write(tmp_path / "intensity.parquet", profiles("source_1", "P1"))
    with pytest.raises(errors.DataError, match="has the name of a control: rename"):
        open_profiles(tmp_path)


def test_without_files_it_says_what_to_fetch(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for path in (None, tmp_path / "nowhere"):
        with pytest.raises(
            errors.DataError, match=r"too large to download automatically.*gallery.*--data"
        ):
            open_profiles(path)
