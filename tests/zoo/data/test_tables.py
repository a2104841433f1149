"""Tables: what is a name stays text, and broken heads are refused."""

import time

import numpy as np
import pandas as pd
import pytest
import tifffile

from zoo import errors
from zoo._data.choices import parse_pairs
from zoo._data.design import with_design
from zoo._data.paths import locate
from zoo._data.sources import open_images
from zoo._data.tables import has_only_numbers, read_table


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def plane(path, value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.full((6, 8), value, np.uint8))
    return path


class TestText:
    def test_names_made_of_digits_stay_text(self, tmp_path):
        head = "image,Metadata_Plate,Metadata_Site,plate,dose,drug\n"
        text = head + "a,001,1,007,0.5,NA\nb,002,2,010,2,None\n"
        table = read_table(write(tmp_path / "t.csv", text))
        assert table["Metadata_Plate"].tolist() == ["001", "002"]
        assert table["Metadata_Site"].tolist() == ["1", "2"]
        assert table["plate"].tolist() == ["007", "010"]
        assert table["dose"].tolist() == [0.5, 2.0]
        assert table["drug"].tolist() == ["NA", "None"]

    def test_numbers_and_truth_values_stay_what_they_are(self, tmp_path):
        table = read_table(
            write(tmp_path / "t.csv", "image,n,x,kept,gap\na,1,0.5,True,NA\nb,2,,False,3\n")
        )
        assert table["n"].dtype == np.int64
        assert table["x"].isna().tolist() == [False, True]
        assert table["kept"].tolist() == [True, False]
        assert table["gap"].tolist()[1] == 3

    def test_only_an_empty_cell_is_missing_in_text(self, tmp_path):
        table = read_table(write(tmp_path / "t.csv", "image,gene\na,NA\nb,\n"))
        assert table["gene"].isna().tolist() == [False, True]

    def test_parquet_metadata_becomes_text(self, tmp_path):
        frame = pd.DataFrame(
            {"image": ["a", "b"], "Metadata_Site": [1, 2], "Metadata_x": [1.0, None]}
        )
        frame.to_parquet(tmp_path / "t.parquet")
        table = read_table(tmp_path / "t.parquet")
        assert table["Metadata_Site"].tolist() == ["1", "2"]
        assert table["Metadata_x"].iloc[0] == "1"
        assert table["Metadata_x"].isna().tolist() == [False, True]

    def test_a_byte_order_mark_is_no_part_of_a_name(self, tmp_path):
        plane(tmp_path / "a.tif")
        write(tmp_path / "t.csv", "image,dose\na.tif,1\n", "utf-8-sig")
        assert open_images(tmp_path / "t.csv")[0].pixels.shape == (1, 6, 8)

    @pytest.mark.parametrize("rows", ["in/1,a,\nin/2,b,\n", "in/1,a,7\nin/2,b,8\n"])
    def test_rows_longer_than_the_head_are_refused(self, tmp_path, rows):
        path = write(tmp_path / "t.csv", "image,drug\n" + rows)
        with pytest.raises(
            errors.DataError,
            match=r"its first row has 3 fields, but its head names 2 \(image, drug\)",
        ):
            open_images(path)

    def test_a_metadata_label_that_spells_numbers_is_a_dose(self, tmp_path):
        plane(tmp_path / "a.tif")
        rows = "".join(f"a.tif,{d},P{i},0{d}\n" for i in range(3) for d in (0, 1, 10))
        path = write(
            tmp_path / "t.csv", "image,Metadata_dose,Metadata_Plate,Metadata_code\n" + rows
        )
        dataset = open_images(path)
        assert dataset.metadata["Metadata_dose"].tolist()[:3] == ["0", "1", "10"]
        designed = with_design(dataset, label="Metadata_dose", group="Metadata_Plate")
        assert designed.metadata["Metadata_dose"].tolist()[:3] == [0, 1, 10]
        assert [task.kind for task in designed.design.tasks] == [
            "dose",
            "retrieval",
            "knn",
            "probe",
        ]
        coded = with_design(dataset, label="Metadata_code", group="Metadata_Plate")
        assert "dose" not in [task.kind for task in coded.design.tasks]

    def test_columns_of_numbers(self):
        assert has_only_numbers(pd.Series([1, 2]))
        assert has_only_numbers(pd.Series(["1", "-2e3", None], dtype=object))
        assert not has_only_numbers(pd.Series(["1", "a"], dtype=object))


def test_200_000_rows_of_two_channels_open_in_a_second(tmp_path):
    rows = "".join(
        f"p/{i}_1.tif,p/{i}_2.tif,P{i % 8},A{i % 24 + 1:02d},{i % 9},{i % 7}\n"
        for i in range(200_000)
    )
    head = "image_DNA,image_ER,Metadata_Plate,Metadata_Well,Metadata_Site,dose\n"
    path = write(tmp_path / "t.csv", head + rows)
    open_images(write(tmp_path / "warm.csv", head + "a,b,c,d,e,1\n"))
    started = time.process_time()
    dataset = open_images(path)
    taken = time.process_time() - started
    assert len(dataset) == 200_000
    # It takes half a second; a loop over rows took 13.8.
    assert taken < 2


def test_as_many_stains_as_planes_say_what_a_stack_is(tmp_path):
    stack = np.zeros((6, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    path = write(tmp_path / "t.csv", "image,stains\na.tif,A|B|C|D|E|F\na.tif,\n")
    dataset = open_images(path)
    assert dataset[0].stains == tuple("ABCDEF")
    with pytest.raises(errors.ImageError, match=r"--axes CYX"):
        dataset[1]


@pytest.mark.parametrize("head", ["image_DNA,image_ER", "image"])
def test_one_file_for_two_channels_is_an_error_of_its_row(tmp_path, head):
    plane(tmp_path / "a.tif")
    plane(tmp_path / "b.tif")
    between = "," if "ER" in head else "|"
    rows = (("a.tif", "b.tif"), ("a.tif", "a.tif"))
    text = "\n".join([head, *(between.join(row) for row in rows)])
    dataset = open_images(write(tmp_path / "t.csv", text))
    assert dataset[0].pixels.shape == (2, 6, 8)
    with pytest.raises(errors.DataError, match=r"row 2 of t\.csv names a\.tif for several"):
        dataset[1]


class TestPaths:
    def test_windows_paths_are_found_where_they_are_relative(self, tmp_path):
        plane(tmp_path / "in" / "Platte ä 1" / "a b.tif", 7)
        path = write(tmp_path / "t.csv", "image\nin\\Platte ä 1\\a b.tif\n")
        assert open_images(path)[0].pixels.max() == 7

    @pytest.mark.parametrize("old", ["D:\\plates", "d:/Plates/", "D:\\plates\\in"])
    def test_absolute_windows_paths_are_mapped(self, tmp_path, old):
        plane(tmp_path / "in" / "a.tif", 7)
        path = write(tmp_path / "t.csv", "image\nD:\\plates\\in\\a.tif\n")
        new = tmp_path / "in" if old.endswith("in") else tmp_path
        assert open_images(path, paths={old: str(new)})[0].pixels.max() == 7

    def test_absolute_windows_paths_are_refused_with_the_option(self, tmp_path):
        path = write(tmp_path / "t.csv", "image\nD:\\plates\\in\\a.tif\n")
        with pytest.raises(errors.ImageError, match=r"--path 'D:\\plates\\in=FOLDER'"):
            open_images(path)[0]

    def test_urls_of_files_and_stores(self, tmp_path):
        file = plane(tmp_path / "a b.tif")
        assert locate(file.as_uri(), tmp_path) == file
        assert locate(f"file:{tmp_path}/a%20b.tif", tmp_path) == file
        moved = {"s3://bucket/plates": str(tmp_path), "s3://bucket": "/nowhere"}
        assert locate("s3://bucket/plates/a b.tif", tmp_path, moved) == file
        with pytest.raises(errors.ImageError, match=r"nowhere://bucket/a\.tif cannot be fetched"):
            locate("nowhere://bucket/a.tif", tmp_path)

    def test_new_places_are_relative_to_where_the_program_runs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        file = plane(tmp_path / "near" / "a.tif")
        assert locate("/old/a.tif", tmp_path / "far", {"/old": "near"}) == file

    def test_beginnings_end_at_a_folder(self, tmp_path):
        assert locate("/old2/a.tif", tmp_path, {"/old": "/new"}).as_posix() == "/old2/a.tif"
        assert locate("/old/a.tif", tmp_path, {"/old/": "/new"}).as_posix() == "/new/a.tif"

    def test_umlauts_in_either_spelling(self, tmp_path):
        plane(tmp_path / "u\u0308ber.tif")
        assert locate("\u00fcber.tif", tmp_path).exists()

    def test_pairs_of_old_and_new(self):
        assert parse_pairs(("D:\\a=/b", "s3://x=/y=z"), "") == {"D:\\a": "/b", "s3://x": "/y=z"}
        with pytest.raises(errors.DataError, match=r"'D:' is not OLD=NEW"):
            parse_pairs(("D:",), "a=b")
