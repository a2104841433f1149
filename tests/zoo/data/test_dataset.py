"""Tables, folders and single files as sources, and what is said of those that are none."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as Picture

import zoo
from zoo import errors
from zoo._data.dataset import Dataset
from zoo._data.sources import load_dataset, open_images


def plane(value, dtype=np.uint8):
    return np.full((6, 8), value, dtype)


def save(folder, name, *values):
    """Write a file whose channels hold one known value each."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = np.stack([plane(v) for v in values])
    if path.suffix == ".tif":
        tifffile.imwrite(path, stack, photometric="minisblack")
    else:
        Picture.fromarray(stack[0]).save(path)
    return path


def values(image):
    """Undo `save`."""
    assert image.pixels.shape[1:] == (6, 8)
    return [int(v) for v in image.pixels[:, 0, 0]]


def write_table(path, frame):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.fixture
def real_fields():
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    for place in (os.environ.get("ZOO_TEST_DATA"), beside):
        if place and Path(place, "fields", "labels.csv").is_file():
            return Path(place, "fields")
    pytest.skip("no real images: set ZOO_TEST_DATA to a folder that holds fields/")


class TestTable:
    @pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".CSV"])
    def test_rows_become_items_with_their_metadata(self, tmp_path, suffix):
        for i in range(3):
            save(tmp_path, f"sub/{i}.tif", 10 + i, 20 + i)
        frame = pd.DataFrame(
            {
                "drug": ["x", "y", "x"],
                "image": [f"sub/{i}.tif" for i in (2, 0, 1)],
                "dose": [1, 2, 3],
            }
        )
        dataset = open_images(write_table(tmp_path / f"plate7{suffix}", frame))
        assert dataset.name == "plate7"
        assert dataset.metadata.columns.tolist() == ["drug", "image", "dose"]
        assert dataset.metadata["dose"].tolist() == [1, 2, 3]
        assert [values(dataset[i]) for i in range(3)] == [[12, 22], [10, 20], [11, 21]]
        assert len(list(dataset)) == len(dataset) == 3

    def test_paths_are_relative_to_the_table_or_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        near = save(tmp_path, "plates/a.tif", 1)
        far = save(tmp_path, "elsewhere/b.tif", 2)
        frame = pd.DataFrame({"image": [near.name, str(far), "../elsewhere/b.tif"]})
        dataset = open_images(write_table(tmp_path / "plates" / "t.csv", frame))
        assert [values(image) for image in dataset] == [[1], [2], [2]]

    @pytest.mark.parametrize("column", ["stains", "channels"])
    def test_stains_of_a_column_are_kept(self, tmp_path, column):
        save(tmp_path, "a.tif", 1, 2)
        frame = pd.DataFrame({"image": ["a.tif"] * 2, column: ["DNA | FKHR-GFP", None]})
        dataset = open_images(write_table(tmp_path / "t.csv", frame))
        assert dataset[0].stains == ("DNA", "FKHR-GFP")
        assert dataset[1].stains is None

    def test_stains_of_the_file_are_kept_where_the_table_names_none(self, tmp_path):
        stack = np.stack([plane(1), plane(2)])
        metadata = {"axes": "CYX", "Channel": {"Name": ["ER", "AGP"]}}
        tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=metadata)
        frame = pd.DataFrame({"image": ["a.ome.tif"] * 2, "stains": [None, "DNA|RNA"]})
        dataset = open_images(write_table(tmp_path / "t.csv", frame))
        assert [image.stains for image in dataset] == [("ER", "AGP"), ("DNA", "RNA")]

    def test_a_number_of_channels_is_no_list_of_names(self, tmp_path):
        save(tmp_path, "a.tif", 1, 2)
        frame = pd.DataFrame({"image": ["a.tif"], "channels": [2]})
        assert open_images(write_table(tmp_path / "t.csv", frame))[0].stains is None

    def test_stains_that_do_not_fit_are_an_error_naming_file_and_row(self, tmp_path):
        save(tmp_path, "a.tif", 1, 2)
        frame = pd.DataFrame({"image": ["a.tif"], "stains": ["DNA|ER|AGP"]})
        dataset = open_images(write_table(tmp_path / "t.csv", frame))
        with pytest.raises(
            errors.DataError, match=r"a\.tif has 2 .* row 1 of t\.csv names 3: DNA, ER"
        ):
            dataset[0]

    def test_one_file_for_each_channel_in_one_column(self, tmp_path):
        for i in range(3):
            save(tmp_path, f"{i}.png", i)
        frame = pd.DataFrame({"image": ["2.png|0.png", "1.png"], "stains": ["ER|DNA", "DNA"]})
        dataset = open_images(write_table(tmp_path / "t.csv", frame))
        assert [values(image) for image in dataset] == [[2, 0], [1]]
        assert [image.stains for image in dataset] == [("ER", "DNA"), ("DNA",)]

    def test_one_column_for_each_stain_empty_where_there_is_none(self, tmp_path):
        for i in range(4):
            save(tmp_path, f"{i}.png", i)
        frame = pd.DataFrame(
            {
                "image_DNA": ["0.png", "1.png", None],
                "dose": [5, 6, 7],
                "image_FKHR-GFP": ["2.png", " ", "3.png"],
            }
        )
        dataset = open_images(write_table(tmp_path / "t.csv", frame))
        assert [values(image) for image in dataset] == [[0, 2], [1], [3]]
        assert [image.stains for image in dataset] == [("DNA", "FKHR-GFP"), ("DNA",), ("FKHR-GFP",)]
        assert dataset.metadata["dose"].tolist() == [5, 6, 7]

    def test_image_path_is_another_name_of_the_column(self, tmp_path):
        save(tmp_path, "a.tif", 1)
        save(tmp_path, "b.tif", 2)
        frame = pd.DataFrame({"image_path": ["a.tif"], "image_DNA": ["b.tif"]})
        assert values(open_images(write_table(tmp_path / "t.csv", frame))[0]) == [1]
        frame["image"] = "b.tif"
        assert values(open_images(write_table(tmp_path / "t.csv", frame))[0]) == [2]

    def test_numbers_are_no_files_whatever_their_column_is_called(self, tmp_path):
        save(tmp_path, "a.tif", 1)
        frame = pd.DataFrame({"image_DNA": ["a.tif"], "image_number": [7], "image_focus": [0.5]})
        dataset = open_images(write_table(tmp_path / "t.csv", frame))
        assert dataset[0].stains == ("DNA",)
        assert values(dataset[0]) == [1]
        assert dataset.metadata["image_number"].tolist() == [7]

    def test_a_missing_file_is_an_error_of_its_row_only(self, tmp_path):
        save(tmp_path, "a.tif", 1)
        dataset = open_images(
            write_table(tmp_path / "t.csv", pd.DataFrame({"image": ["gone.tif", "a.tif"]}))
        )
        with pytest.raises(errors.ImageError, match=r"gone\.tif is missing"):
            dataset[0]
        assert values(dataset[1]) == [1]

    @pytest.mark.parametrize("column", ["image", "image_DNA"])
    def test_a_row_without_a_file_is_named(self, tmp_path, column):
        save(tmp_path, "a.tif", 1)
        frame = pd.DataFrame({column: ["a.tif", None], "dose": [1, 2]})
        dataset = open_images(write_table(tmp_path / "t.csv", frame))
        with pytest.raises(errors.DataError, match=r"row 2 of t\.csv names no file"):
            dataset[1]

    def test_a_table_without_an_image_column_lists_its_columns(self, tmp_path):
        path = write_table(tmp_path / "t.csv", pd.DataFrame({"file": ["a.tif"], "dose": [1]}))
        with pytest.raises(
            errors.DataError, match=r"t\.csv has neither a column 'image'.* are file, dose$"
        ):
            open_images(path)

    def test_numbered_columns_are_named_too(self, tmp_path):
        path = write_table(tmp_path / "t.parquet", pd.DataFrame({0: [1.5], 1: ["a.tif"]}))
        with pytest.raises(errors.DataError, match=r"neither a column 'image'.* are 0, 1$"):
            open_images(path)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("t.csv", b""),
            ("t.csv", b'image\n"a.tif'),
            ("t.csv", b"image,dose\n\xff\xfe.tif,1\n"),
            ("t.tsv", b"image\na\tb\n1\t2\t3\t4\n"),
            ("t.parquet", b"PAR1 and no more"),
        ],
    )
    def test_what_is_no_table_is_named(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(errors.DataError, match=rf"{name[0]}\.\w+ is not a readable table: .+"):
            open_images(tmp_path / name)

    def test_a_table_without_rows_has_no_images(self, tmp_path):
        (tmp_path / "t.csv").write_text("image,dose\n")
        with pytest.raises(errors.DataError, match=r"^t has no items$"):
            open_images(tmp_path / "t.csv")


class TestFolder:
    def test_all_images_at_any_depth_in_order(self, tmp_path):
        for i, name in enumerate(["b.tif", "a/z.PNG", "a/y.bmp", "c/d/e.tif"]):
            save(tmp_path / "plate", name, i)
        for name in ("notes.txt", ".hidden.tif", "a/._z.PNG"):
            (tmp_path / "plate" / name).write_bytes(b"no image")
        (tmp_path / "plate" / "folder.tif").mkdir()
        dataset = open_images(tmp_path / "plate")
        assert dataset.name == "plate"
        assert dataset.metadata["image"].tolist() == ["a/y.bmp", "a/z.PNG", "b.tif", "c/d/e.tif"]
        assert [values(image) for image in dataset] == [[2], [1], [0], [3]]

    def test_a_labels_table_goes_first(self, tmp_path):
        save(tmp_path / "plate", "images/a.tif", 1)
        save(tmp_path / "plate", "images/b.tif", 2)
        frame = pd.DataFrame({"image": ["images/b.tif"], "dose": [4]})
        write_table(tmp_path / "plate" / "labels.csv", frame)
        dataset = open_images(tmp_path / "plate")
        assert dataset.name == "plate"
        assert dataset.metadata["dose"].tolist() == [4]
        assert [values(image) for image in dataset] == [[2]]

    def test_the_folder_at_hand_has_its_name(self, tmp_path, monkeypatch):
        save(tmp_path / "plate", "a.tif", 1)
        monkeypatch.chdir(tmp_path / "plate")
        assert open_images(".").name == "plate"

    @pytest.mark.parametrize("name", [None, "notes.txt", "data.dat"])
    def test_a_folder_without_images_is_an_error(self, tmp_path, name):
        if name:
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(
            errors.DataError, match=rf"{tmp_path.name} has no images: no labels\.csv"
        ):
            open_images(tmp_path)

    def test_a_single_file_is_a_dataset_of_one(self, tmp_path):
        dataset = open_images(str(save(tmp_path, "a.tif", 3, 4)))
        assert (dataset.name, len(dataset)) == ("a", 1)
        assert dataset.metadata["image"].tolist() == ["a.tif"]
        assert values(dataset[0]) == [3, 4]

    def test_what_does_not_exist_is_named(self, tmp_path):
        with pytest.raises(errors.DataError, match=r"nowhere does not exist"):
            open_images(tmp_path / "nowhere")

    def test_the_home_folder_may_be_abbreviated(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        save(tmp_path, "plate/a.tif", 1)
        assert values(open_images("~/plate")[0]) == [1]


SPEC = zoo.plugin.DatasetSpec(
    name="plate",
    builder="m:f",
    summary="s",
    design=zoo.Design(
        label="dose",
        group="row",
        batch="day",
        tasks=(zoo.Task(kind="probe", target="drug", title="t", where={"kept": (1,)}),),
    ),
)
COLUMNS = ("dose", "row", "day", "drug", "kept")


class TestDataset:
    def test_items_are_read_anew_each_time(self):
        asked = []
        dataset = Dataset("d", pd.DataFrame({"x": range(3)}), lambda i: asked.append(i))
        for i in (0, 2, -1, 0):
            dataset[i]
        assert asked == [0, 2, 2, 0]
        with pytest.raises(IndexError):
            dataset[3]

    def test_nothing_is_no_dataset(self):
        with pytest.raises(errors.DataError, match=r"^d has no items$"):
            Dataset("d", pd.DataFrame({"x": []}), lambda i: None)

    @pytest.mark.parametrize("missing", COLUMNS)
    def test_every_column_that_its_spec_names_must_be_there(self, missing):
        metadata = pd.DataFrame({c: [1] for c in COLUMNS})
        assert len(Dataset("d", metadata, lambda i: None, SPEC)) == 1
        with pytest.raises(
            errors.DataError, match=rf"^d lacks the metadata column\(s\) {missing}; it has"
        ):
            Dataset("d", metadata.drop(columns=missing), lambda i: None, SPEC)

    def test_an_unknown_name_gets_near_ones(self):
        with pytest.raises(errors.UnknownNameError, match="phantom"):
            load_dataset("phantm")

    def test_datasets_of_the_registry_open_by_name(self):
        assert load_dataset("phantom").name == "phantom"

    def test_a_builder_that_gives_no_dataset_is_named(self, monkeypatch):
        monkeypatch.setattr("zoo.plugins.phantom.open_phantom", lambda spec, *, path: [1])
        with pytest.raises(
            errors.DataError, match=r"open_phantom returned \[1\], which is not a zoo\.Dataset"
        ):
            load_dataset("phantom")


def test_real_fields_of_1_to_6_channels(real_fields):
    dataset = open_images(real_fields)
    for i, row in dataset.metadata.iterrows():
        image = dataset[i]
        assert "x".join(map(str, image.pixels.shape)) == row["shape"]
        assert str(image.pixels.dtype) == row["dtype"]
        assert image.stains == tuple(row["channels"].split("|"))
        assert len(image.stains) == row["n_channels"]
    assert set(dataset.metadata["n_channels"]) == {1, 3, 4, 5, 6}
