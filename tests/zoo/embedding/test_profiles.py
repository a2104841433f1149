"""Tables of profiles in every form that others write them, against the numbers that went in."""

import gzip
import hashlib
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo import errors

SUFFIXES = [".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet"]


def numbers(rows=7, columns=5, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def cellprofiler(rows=6):
    """A table as pycytominer leaves it, with the matrix that must come out."""
    names = ["Cells_AreaShape_Area", "Nuclei_Texture_X", "Image_Count_Cells", "Cytoplasm_A_B"]
    matrix = numbers(rows, len(names))
    frame = pd.DataFrame(matrix, columns=names)
    frame.insert(0, "Metadata_Plate", [f"P{i % 2}" for i in range(rows)])
    frame.insert(2, "Metadata_dose", np.arange(rows) / 10)
    frame["Image_Metadata_Site"] = range(rows)
    frame["ImageNumber"] = range(rows)
    return frame, matrix


def write(path, frame, **options):
    if path.suffix == ".parquet":
        frame.to_parquet(path, **options)
    else:
        separator = "\t" if ".tsv" in path.name else ","
        frame.to_csv(path, index=False, sep=separator, **options)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_was_written_comes_back(tmp_path, suffix):
    metadata = pd.DataFrame(
        {"gene": ["NA", "None", "x", None, 'ü, "y"'], "dose": [0.1, 0.2, 0.3, 1e-5, 4]}
    )
    said = {"zoo": "0", "encoder": "some-encoder", "options": {"a": 1}, "seed": None}
    made = zoo.Embeddings(numbers(5, 12), metadata, said)
    path = tmp_path / f"table{suffix}"
    made.write(path)
    found = zoo.read_profiles(path)
    assert found.matrix.dtype == np.float32
    assert found.matrix.tolist() == made.matrix.tolist()
    assert found.metadata["gene"].isna().tolist() == [False, False, False, True, False]
    assert found.metadata["gene"].dropna().tolist() == metadata["gene"].dropna().tolist()
    assert found.metadata["dose"].tolist() == metadata["dose"].tolist()
    assert said.items() <= found.provenance.items()
    assert found.provenance["file"] == path.name
    assert found.provenance["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.provenance["duplicated_rows"] == 0
    assert found.failures == ()
    found.write(tmp_path / f"again{suffix}")
    again = zoo.read_profiles(tmp_path / f"again{suffix}")
    assert again.matrix.tolist() == made.matrix.tolist()
    pd.testing.assert_frame_equal(again.metadata, found.metadata)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_names_with_and_without_the_mark_both_come_back(tmp_path, suffix):
    metadata = pd.DataFrame({"plate": [1, 2], "Metadata_plate": ["a", "b"]})
    zoo.Embeddings(numbers(2), metadata, {}).write(tmp_path / f"t{suffix}")
    found = zoo.read_profiles(tmp_path / f"t{suffix}")
    assert found.metadata.to_dict("list") == metadata.to_dict("list")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cellprofiler_features_and_everything_else(tmp_path, suffix):
    frame, matrix = cellprofiler()
    found = zoo.read_profiles(write(tmp_path / f"BR1{suffix}", frame))
    # 1e-6: text holds the shortest digits that tell float32 apart, read by way of float64.
    np.testing.assert_allclose(found.matrix, matrix, rtol=1e-6)
    assert found.matrix.flags.c_contiguous
    assert found.metadata.columns.tolist() == ["Plate", "dose", "Site", "ImageNumber"]
    assert found.metadata["dose"].tolist() == frame["Metadata_dose"].tolist()
    assert found.provenance["encoder"] == "precomputed:BR1"
    assert found.provenance["features"] == 4


def test_ours_go_before_cellprofilers(tmp_path):
    frame, _ = cellprofiler()
    frame["embedding_0000"] = 1.0
    frame["embedding_0001"] = 2.0
    found = zoo.read_profiles(write(tmp_path / "t.csv", frame))
    assert found.matrix.tolist() == [[1.0, 2.0]] * 6
    assert "Cells_AreaShape_Area" in found.metadata


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_numbers_that_are_not_marked(tmp_path, suffix):
    frame = pd.DataFrame(numbers(4, 3), columns=["a", "b", "7"])
    frame["Metadata_well"] = ["A01", "A02", "B01", "B02"]
    frame["Metadata_dose"] = [0, 1, 0, 1]
    frame["name"] = ["w", "x", "y", "z"]
    frame["flag"] = [True, False, True, True]
    found = zoo.read_profiles(write(tmp_path / f"t{suffix}", frame))
    np.testing.assert_allclose(found.matrix, frame[["a", "b", "7"]].to_numpy(), rtol=1e-6)
    assert found.metadata.columns.tolist() == ["well", "dose", "name", "flag"]


def test_without_any_mark_nothing_is_guessed(tmp_path):
    # Else the dose would be a feature, and predict itself.
    frame = pd.DataFrame({"well": ["A01", "A02"], "dose": [0, 1], "x_0": [0.5, 1.5]})
    path = write(tmp_path / "t.csv", frame)
    with pytest.raises(errors.DataError, match=r"which of its 3 columns are features.*prefix="):
        zoo.read_profiles(path)
    found = zoo.read_profiles(path, prefix="x_")
    assert found.matrix.tolist() == [[0.5], [1.5]]
    assert found.metadata["dose"].tolist() == [0, 1]


def test_prefixes(tmp_path):
    frame, matrix = cellprofiler()
    path = write(tmp_path / "t.parquet", frame)
    found = zoo.read_profiles(path, prefix=("Cells_", "Nuclei_"))
    assert found.matrix.tolist() == matrix[:, :2].tolist()
    assert "Image_Count_Cells" in found.metadata
    with pytest.raises(errors.DataError, match=r"no column that begins with 'Cell5_'"):
        zoo.read_profiles(path, prefix="Cell5_")
    with pytest.raises(errors.DataError, match=r"features that are not numbers: Metadata_Plate;"):
        zoo.read_profiles(path, prefix="Metadata_")
    for nothing in ("", (), ("a", "")):
        with pytest.raises(ValueError, match="must be the beginning"):
            zoo.read_profiles(path, prefix=nothing)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_numbers_that_are_none_are_counted_and_named(tmp_path, suffix, bad):
    frame, matrix = cellprofiler()
    frame = frame.astype({"Nuclei_Texture_X": float, "Cytoplasm_A_B": float})
    frame.loc[[1, 4], "Nuclei_Texture_X"] = bad
    frame.loc[[4, 5], "Cytoplasm_A_B"] = bad
    path = write(tmp_path / f"t{suffix}", frame)
    with pytest.raises(
        errors.DataError,
        match=r"in 3 of 6 rows and 2 of 4 features, the first of them Nuclei_Text",
    ):
        zoo.read_profiles(path)
    found = zoo.read_profiles(path, missing="drop")
    np.testing.assert_allclose(found.matrix, matrix[:, [0, 2]], rtol=1e-6)
    assert found.provenance["dropped_features"] == ["Nuclei_Texture_X", "Cytoplasm_A_B"]
    assert found.provenance["features"] == 2


def test_all_features_missing(tmp_path):
    frame = pd.DataFrame({"Cells_a": [np.nan, 1], "Cells_b": [0, np.inf]})
    path = write(tmp_path / "t.csv", frame)
    with pytest.raises(errors.DataError, match="in each of its features"):
        zoo.read_profiles(path, missing="drop")
    with pytest.raises(ValueError, match="'raise' or 'drop'"):
        zoo.read_profiles(path, missing="fill")


def test_integers_with_holes_in_parquet(tmp_path):
    frame = pd.DataFrame({"Cells_a": pd.array([1, None, 3], dtype="Int64"), "Cells_b": [1, 2, 3]})
    path = write(tmp_path / "t.parquet", frame)
    with pytest.raises(errors.DataError, match=r"in 1 of 3 rows and 1 of 2 features"):
        zoo.read_profiles(path)
    assert zoo.read_profiles(path, missing="drop").matrix.tolist() == [[1], [2], [3]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_words_among_features(tmp_path, suffix):
    frame, _ = cellprofiler()
    frame["Image_FileName_DNA"] = "a.tif"
    path = write(tmp_path / f"t{suffix}", frame)
    with pytest.raises(
        errors.DataError, match="features that are not numbers: Image_FileName_DNA;"
    ):
        zoo.read_profiles(path)
    assert zoo.read_profiles(path, prefix="Cells_").matrix.shape == (6, 1)


def test_one_word_in_a_column_of_numbers_is_not_metadata(tmp_path):
    frame = pd.DataFrame({"Metadata_a": [1, 2, 3], "x": ["1", "2", "2.o"], "y": [1, 2, 3]})
    with pytest.raises(errors.DataError, match=r"'2\.o' among the numbers of column x"):
        zoo.read_profiles(write(tmp_path / "t.csv", frame))


def test_constant_features_and_repeated_rows_are_allowed_and_counted(tmp_path):
    matrix = np.tile(numbers(2, 3), (3, 1))
    matrix[:, 1] = 0.0
    matrix[3, 1] = -0.0
    frame = pd.DataFrame(matrix, columns=["Cells_a", "Cells_b", "Cells_c"])
    found = zoo.read_profiles(write(tmp_path / "t.parquet", frame))
    assert found.matrix.tolist() == matrix.tolist()
    assert found.provenance["duplicated_rows"] == 4
    assert found.metadata.shape == (6, 0)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_row_numbers_are_neither_features_nor_metadata(tmp_path, suffix):
    frame = pd.DataFrame({"Metadata_a": ["x", "y"], "f": [0.5, 1.5]}, index=[5, 9])
    path = tmp_path / f"t{suffix}"
    frame.to_parquet(path, index=True) if suffix == ".parquet" else frame.to_csv(path)
    found = zoo.read_profiles(path)
    assert found.matrix.tolist() == [[0.5], [1.5]]
    assert found.metadata.columns.tolist() == ["a"]
    assert found.provenance["ignored_columns"] == [""] if suffix == ".csv" else True
    assert len(found.provenance["ignored_columns"]) == 1


def test_names_that_clash(tmp_path):
    frame = pd.DataFrame({"Cells_a": [1.0], "plate": ["p"], "Metadata_plate": ["q"]})
    with pytest.raises(errors.DataError, match="'plate' whose name without Metadata_ is taken"):
        zoo.read_profiles(write(tmp_path / "t.csv", frame))
    (tmp_path / "twice.csv").write_text("Cells_a,Metadata_b,Cells_a\n1,2,3\n")
    with pytest.raises(errors.DataError, match="more than one column called 'Cells_a'"):
        zoo.read_profiles(tmp_path / "twice.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"x", "none of the tables"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"Cells_a,Metadata_b\n", "has no rows"),
        ("t.csv", b"Cells_a,Cells_b\n1,2\n1,2,3\n", "not a readable table"),
        ("t.csv", b"Metadata_a,name\nx,y\n", "no columns of numbers besides Metadata_a"),
        ("t.csv", b"\xff\xfe\x00a", "not a readable table"),
        ("t.csv.gz", b"no gzip", "not a readable table"),
        (
            "t.csv.gz",
            gzip.compress(b"Cells_a\n" + b"1\n" * 9999, mtime=0)[:-20],
            "not a readable table",
        ),
        ("t.parquet", b"PAR1 and nothing", "not a readable table"),
    ],
)
def test_files_that_are_no_tables(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(errors.DataError, match=message):
        zoo.read_profiles(tmp_path / name)


def test_lines_that_are_too_short_have_missing_numbers(tmp_path):
    (tmp_path / "t.csv").write_text("Cells_a,Cells_b\n1,2\n1\n")
    with pytest.raises(errors.DataError, match=r"in 1 of 2 rows and 1 of 2 features.* Cells_b"):
        zoo.read_profiles(tmp_path / "t.csv")


def test_nothing_there(tmp_path):
    with pytest.raises(errors.DataError, match="is missing"):
        zoo.read_profiles(tmp_path / "t.csv")
    (tmp_path / "t.parquet").mkdir()
    with pytest.raises(errors.DataError, match="is not a file"):
        zoo.read_profiles(tmp_path / "t.parquet")


def test_a_json_of_somebody_else_is_no_provenance(tmp_path):
    frame, _ = cellprofiler()
    path = write(tmp_path / "t.csv", frame)
    for other in ('{"encoder": "theirs"}', "[1", '["zoo"]'):
        path.with_suffix(".json").write_text(other)
        assert zoo.read_profiles(path).provenance["encoder"] == "precomputed:t"
    path.with_suffix(".json").write_text(json.dumps({"zoo": "0", "encoder": "ours"}))
    assert zoo.read_profiles(path).provenance["encoder"] == "ours"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_more_than_one_piece(tmp_path, suffix, monkeypatch):
    """Blocks of rows and columns that do not divide the table evenly."""
    from zoo._embedding import tables

    monkeypatch.setattr(tables, "_COLUMNS_AT_A_TIME", 3)
    monkeypatch.setattr(tables, "_ROWS_AT_A_TIME", 7)
    monkeypatch.setattr(tables, "_CELLS_AT_A_TIME", 1)
    matrix = numbers(150, 8)
    matrix[149] = matrix[0]
    frame = pd.DataFrame(matrix, columns=[f"Cells_{i}" for i in range(8)])
    frame["Metadata_i"] = range(150)
    options = {"row_group_size": 40} if suffix == ".parquet" else {}
    found = zoo.read_profiles(write(tmp_path / f"t{suffix}", frame, **options))
    np.testing.assert_allclose(found.matrix, matrix, rtol=1e-6)
    assert found.metadata["i"].tolist() == list(range(150))
    assert found.provenance["duplicated_rows"] == 1


def test_parquet_needs_little_more_than_the_matrix(tmp_path):
    rows, columns = 60_000, 192
    frame = pd.DataFrame(numbers(rows, columns), columns=[f"Cells_{i}" for i in range(columns)])
    path = write(tmp_path / "t.parquet", frame)
    code = (
        "import resource, sys, numpy, pandas, pyarrow.parquet, zoo\n"
        "zoo.read_profiles\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\n"
        f"found = zoo.read_profiles({str(path)!r})\n"
        "print(peak() - before - found.matrix.nbytes)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True
    )
    # Besides the matrix of 46 MB, the columns in hand and the readers' own 45 MB; a second matrix
    # would make it 90.
    assert float(done.stdout) < 68e6


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz"])
def test_names_made_of_digits_stay_text(tmp_path, suffix):
    """A plate called 001, and the hash of a run that has no letter."""
    head = (
        "Metadata_Plate",
        "Metadata_zoo_run",
        "Metadata_dose",
        "Metadata_dark",
        "embedding_0000",
    )
    rows = [("001", "225628049559", "1", "", "0.5"), ("12", "225628049559", "2.5", "", "0.25")]
    separator = "," if suffix == ".csv" else "\t"
    text = "\n".join(separator.join(row) for row in (head, *rows)) + "\n"
    data = text.encode() if suffix == ".csv" else gzip.compress(text.encode())
    path = tmp_path / f"profiles{suffix}"
    path.write_bytes(data)
    found = zoo.read_profiles(path).metadata
    assert found["Plate"].tolist() == ["001", "12"]
    assert set(found["zoo_run"]) == {"225628049559"}
    assert found["dose"].tolist() == [1, 2.5]
    assert found["dark"].isna().all()
