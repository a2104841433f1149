"""Crops of single objects and tiles, of pixels that say where they are."""

import dataclasses
import itertools
import pickle
import sqlite3
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner
from skimage.measure import regionprops

import zoo
from zoo import errors
from zoo._cli import main
from zoo._data.choices import Choices
from zoo._data.crops.choice import make_crops
from zoo._data.crops.objects import objects_of_mask
from zoo._data.sources import open_source

HEIGHT, WIDTH = 60, 80
WELLS = [("A01", "1"), ("A01", "2"), ("B12", "1")]
# Row, column, and half a side of square objects: in the middle, and near an edge.
PLACES = {"A01_s1": [(20, 30, 2), (3, 40, 2)], "A01_s2": [(50, 70, 3)], "B12_s1": []}


def pixels():
    """Two channels: the row and the column of every pixel, from 1."""
    return (np.indices((HEIGHT, WIDTH)) + 1).astype(np.uint16)


def mask(places, dtype=np.uint16):
    """Objects with the numbers 2, 4 and so on: numbers have gaps."""
    found = np.zeros((HEIGHT, WIDTH), dtype)
    for k, (y, x, half) in enumerate(places, 1):
        found[y - half : y + half + 1, x - half : x + half + 1] = 2 * k
    return found


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack", **options)


@pytest.fixture
def plate(tmp_path):
    """A folder of images, and beside it their masks, whose names are longer."""
    for name, places in PLACES.items():
        save(tmp_path / "images" / f"{name}.tif", pixels())
        save(tmp_path / "masks" / f"{name}_nuclei.tif", mask(places))
    return tmp_path


def open_crops(source, crops, size=9, stride=None, edge=None, **options):
    made = make_crops(crops, size, stride, edge)
    return open_source(source, Choices(crops=made, **options))


def centres(source):
    table = source.dataset.metadata
    columns = ["ObjectNumber", "Location_Center_Y", "Location_Center_X"]
    return [tuple(row) for row in table[columns].to_numpy().tolist()]


def test_crops_lie_around_the_objects_of_a_folder_of_masks(plate):
    source = open_crops(plate / "images", plate / "masks")
    assert centres(source) == [(2, 20, 30), (50 - 48, 50, 70)]
    first = source.dataset[0].pixels
    rows, columns = np.mgrid[16:25, 26:35]
    assert first.tolist() == [(rows + 1).tolist(), (columns + 1).tolist()]
    table = source.dataset.metadata
    assert table["Metadata_Well"].tolist() == ["A01", "A01"]
    assert table["AreaShape_Area"].tolist() == [25, 49]
    assert table["AreaShape_BoundingBoxMaximum_X"].tolist() == [33, 74]
    assert source.dataset.crops == {
        "of": "objects of masks",
        "side_pixels": 9,
        "side_micrometres": None,
        "edge": "drop",
    }
    assert source.notes[0] == "3 objects of masks in 3 images"
    assert source.notes[1].startswith("1 of them are left out: a crop of 9 pixels reaches beyond")
    assert source.notes[2] == "1 images have none"


@pytest.mark.parametrize("side", [1, 2, 7, 8])
def test_the_pixel_of_the_centre_is_in_the_middle(plate, side):
    crop = open_crops(plate / "images", plate / "masks", side).dataset[0].pixels
    assert crop.shape == (2, side, side)
    assert crop[:, side // 2 - (side % 2 == 0), side // 2 - (side % 2 == 0)].tolist() == [21, 31]


@pytest.mark.parametrize(("edge", "rows"), [("shift", range(1, 10)), ("pad", [0, *range(1, 9)])])
def test_crops_at_an_edge_are_moved_or_filled(plate, edge, rows):
    source = open_crops(plate / "images", plate / "masks", edge=edge)
    assert centres(source)[1] == (4, 3, 40)
    found = source.dataset[1].pixels
    assert found[0, :, 0].tolist() == list(rows)
    assert found[1, -1].tolist() == list(range(37, 46))
    beyond = source.dataset.metadata["crop_beyond_image"].tolist()
    assert beyond == [False, edge == "pad", False]
    assert source.dataset.crops["edge"] == edge


@pytest.mark.parametrize("crops", ["masks/{well}_s{site}_nuclei.tif", "masks/{IMAGE}_nuclei.tif"])
def test_masks_by_a_pattern(plate, monkeypatch, crops):
    monkeypatch.chdir(plate)
    assert len(open_crops("images", crops).dataset) == 2


def test_masks_of_a_column_lie_beside_the_table(plate):
    rows = [(f"images/{n}.tif", f"masks/{n}_nuclei.tif") for n in PLACES]
    pd.DataFrame(rows, columns=["image", "outlines"]).to_csv(plate / "labels.csv", index=False)
    for source in (plate, plate / "labels.csv"):
        assert centres(open_crops(source, "outlines")) == [(2, 20, 30), (2, 50, 70)]


def test_masks_of_a_load_data_table_are_cut_too(plate):
    rows = [
        {"FileName_DNA": f"images/{n}.tif", "Frame_DNA": 0, "Metadata_Well": n[:3]}
        | {"ObjectsFileName_Nuclei": f"masks/{n}_nuclei.tif"}
        for n in PLACES
    ]
    pd.DataFrame(rows).to_csv(plate / "load_data.csv", index=False)
    source = open_crops(plate / "load_data.csv", "objects", 5)
    assert len(source.dataset) == 3
    assert (source.dataset[0].mask == 2).all()
    assert source.dataset[0].pixels[0, 0].tolist() == [19] * 5


def test_one_of_several_kinds_of_objects_of_a_load_data_table(plate):
    cells = mask([(30, 40, 6)])
    save(plate / "masks" / "cells.tif", cells)
    row = {"FileName_DNA": "images/A01_s1.tif", "ObjectsFileName_Cells": "masks/cells.tif"}
    row |= {"ObjectsFileName_Nuclei": "masks/A01_s1_nuclei.tif", "Frame_DNA": 0}
    pd.DataFrame([row]).to_csv(plate / "load_data.csv", index=False)
    assert centres(open_crops(plate / "load_data.csv", "Cells")) == [(2, 30, 40)]
    assert centres(open_crops(plate / "load_data.csv", "Nuclei")) == [(2, 20, 30)]
    assert centres(open_crops(plate / "load_data.csv", "objects")) == [(2, 20, 30)]
    with pytest.raises(errors.DataError, match="'Cell', which is no file"):
        open_crops(plate / "load_data.csv", "Cell")


def test_measures_are_those_of_scikit_image():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 30, (12, 10), dtype=np.int32) * 3
    labels = np.kron(blocks, np.ones((4, 5), np.int32))
    found = objects_of_mask(labels)
    expected = regionprops(labels)
    assert found["ObjectNumber"].tolist() == [p.label for p in expected]
    assert found["AreaShape_Area"].tolist() == [p.area for p in expected]
    # Sums of positions in another order.
    np.testing.assert_allclose(
        found[["Location_Center_Y", "Location_Center_X"]],
        [p.centroid for p in expected],
        rtol=1e-12,
    )
    ends = [f"AreaShape_BoundingBox{e}_{a}" for e in ("Minimum", "Maximum") for a in "YX"]
    assert found[ends].to_numpy().tolist() == [list(p.bbox) for p in expected]
    size = labels.shape
    border = [
        min(p.bbox[:2]) == 0 or p.bbox[2] == size[0] or p.bbox[3] == size[1] for p in expected
    ]
    assert found["Object_TouchesBorder"].tolist() == border


CENTROIDS = [("A01_s1", 7, 20.0, 30.0), ("A01_s2", 1, 50.0, 70.0)]


def location_table(**columns):
    found = pd.DataFrame(
        {
            "ObjectNumber": [n for _, n, _, _ in CENTROIDS],
            "Location_Center_X": [x for *_, x in CENTROIDS],
            "Location_Center_Y": [y for *_, y, _ in CENTROIDS],
        }
    )
    return found.assign(**columns)


def by_positions(folder):
    # Spelt as others spell them: a number for the site, a well without its zero.
    location_table(Metadata_Well=["A1", "a01"], Metadata_Site=["01", "2"]).to_csv(
        folder / "t.csv", index=False
    )
    return folder / "t.csv"


def by_image(folder):
    names = [f"elsewhere/{n}.tif" for n, *_ in CENTROIDS]
    location_table(image=names).to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def by_image_table(folder):
    location_table(ImageNumber=[11, 12]).to_csv(folder / "Nuclei.csv", index=False)
    rows = {"ImageNumber": [12, 11, 99], "FileName_DNA": ["A01_s2.tif", "A01_s1.tif", "other.tif"]}
    pd.DataFrame(rows).to_csv(folder / "Image.csv", index=False)
    return folder / "Nuclei.csv"


def database(folder):
    table = location_table(ImageNumber=[1, 2], TableNumber=[5, 5])
    table = table.rename(columns=lambda c: c if "Number" in c else f"Nuclei_{c}")
    images = {"TableNumber": [5, 5, 6], "ImageNumber": [1, 2, 1]}
    images |= {"Image_FileName_DNA": ["A01_s1.tif", "A01_s2.tif", "B12_s1.tif"]}
    with closing(sqlite3.connect(folder / "cells.sqlite")) as base:
        table.to_sql("Nuclei", base, index=False)
        pd.DataFrame(images).to_sql("Image", base, index=False)
    return folder / "cells.sqlite"


def jump(folder):
    cells = [
        [{"Nuclei_Location_Center_X": x, "Nuclei_Location_Center_Y": y}] for *_, y, x in CENTROIDS
    ]
    table = {"Metadata_Well": ["A01", "A01", "B12"], "Metadata_Site": ["1", "2", "1"]}
    pd.DataFrame({**table, "CellCenters": [*cells, []]}).to_parquet(folder / "cells.parquet")
    return folder / "cells.parquet"


@pytest.mark.parametrize("write", [by_positions, by_image, by_image_table, database, jump])
def test_centroids_are_joined_to_their_images(plate, write):
    source = open_crops(plate / "images", write(plate))
    assert [row[1:] for row in centres(source)] == [(20, 30), (50, 70)]
    assert source.dataset.metadata["image"].tolist() == ["A01_s1.tif", "A01_s2.tif"]
    assert source.dataset[1].pixels[:, 4, 4].tolist() == [51, 71]
    if write is not jump:
        assert source.dataset.metadata["ObjectNumber"].tolist() == [7, 1]


def test_locations_of_deepprofiler(plate):
    rows = [("P1", *position, f"{name}.tif") for name, position in zip(PLACES, WELLS, strict=True)]
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "image"]
    pd.DataFrame(rows, columns=columns).to_csv(plate / "images" / "labels.csv", index=False)
    (plate / "locations" / "P1").mkdir(parents=True)
    for (name, _, y, x), site in zip(CENTROIDS, "12", strict=True):
        table = pd.DataFrame({"Nuclei_Location_Center_X": [x], "Nuclei_Location_Center_Y": [y]})
        table.to_csv(plate / "locations" / "P1" / f"A01-{site}-Nuclei.csv", index=False)
        assert name.endswith(site)
    source = open_crops(plate / "images", plate / "locations")
    assert centres(source) == [(1, 20, 30), (1, 50, 70)]
    assert source.notes[-1] == "1 images have none"


def test_nuclei_are_found_where_there_is_no_mask(tmp_path):
    field = np.full((64, 64), 100, np.uint16)
    field[20:31, 40:51] = 3000
    save(tmp_path / "a.tif", field)
    source = open_crops(tmp_path / "a.tif", "nuclei", 16)
    ((number, y, x),) = centres(source)
    # A threshold on the smoothed image may move the edge by a pixel.
    assert (number, round(y), round(x)) == (1, 25, 45)


def test_tiles_cover_the_image_as_a_loop_does(plate):
    for size, stride, edge in itertools.product((20, 33), (None, 15), ("drop", "shift", "pad")):
        source = open_crops(plate / "images" / "A01_s1.tif", "tiles", size, stride, edge)
        expected = []
        step = stride or size
        for top in range(0, HEIGHT, step):
            for left in range(0, WIDTH, step):
                if (top and top - step + size >= HEIGHT) or (left and left - step + size >= WIDTH):
                    continue  # the one before reaches the edge
                y, x = min(top, HEIGHT - size), min(left, WIDTH - size)
                if edge == "pad" or (edge == "shift") or (y, x) == (top, left):
                    expected.append((top, left) if edge == "pad" else (y, x))
        table = source.dataset.metadata
        assert list(zip(table["crop_y"], table["crop_x"], strict=True)) == expected
        last = source.dataset[len(expected) - 1].pixels
        assert last.shape == (2, size, size)
        assert last[:, 0, 0].tolist() == [v + 1 for v in expected[-1]]


def test_sides_in_micrometres(plate):
    options = {"pixel_size": 0.5}
    source = open_crops(plate / "images", plate / "masks", "4.6um", **options)
    assert source.dataset[0].pixels.shape == (2, 9, 9)
    assert source.dataset.crops["side_micrometres"] == 4.5
    with pytest.raises(errors.DataError, match=r"how many micrometres a pixel has.*--pixel-size"):
        open_crops(plate / "images", plate / "masks", "4.6um")


def test_images_of_another_pixel_size_are_refused(tmp_path):
    for name, size in (("a", 0.5), ("b", 0.25)):
        unit = {"PhysicalSizeX": size, "PhysicalSizeY": size, "axes": "YX"}
        save(tmp_path / f"{name}.ome.tif", pixels()[0], metadata=unit)
    found = open_crops(tmp_path, "tiles", "10um").dataset
    assert found[0].pixels.shape == (1, 20, 20)
    with pytest.raises(errors.ImageError, match=r"pixels of 0.25 µm, but the first one has"):
        found[len(found) - 1]


def test_an_image_is_read_once_for_the_threads_that_want_its_crops(plate):
    reader = open_crops(plate / "images", "tiles", size=20).dataset.read
    read, together, wholes = reader.read, threading.Barrier(4), []

    def slow(i):
        wholes.append(i)
        time.sleep(0.1)  # while the others come to ask for it
        if len(wholes) == 1:
            raise OSError("the disk was away")
        return read(i)

    reader = dataclasses.replace(reader, read=slow)
    crops = [i for i, image in enumerate(reader.images) if image == reader.images[0]][:4]

    def crop(i):
        together.wait()
        return reader(i)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(crop, i) for i in crops]:
            with pytest.raises(OSError, match="away"):
                done.result()
        assert len(wholes) == 1
        found = list(pool.map(crop, crops))  # an image that could not be read is tried again
    assert len(wholes) == 2
    for i, image in zip(crops, found, strict=True):
        np.testing.assert_array_equal(image.pixels, reader(i).pixels)


def test_few_whole_images_are_read_at_once(plate):
    """However many crops are wanted: of a slide each may take all memory that there is."""
    reader = open_crops(plate / "images", "tiles", size=60).dataset.read
    read, inside, most = reader.read, [], []

    def slow(i):
        inside.append(i)
        most.append(len(inside))
        time.sleep(0.05)
        inside.remove(i)
        return read(i)

    reader = dataclasses.replace(reader, read=slow)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(reader, range(len(reader.images))))
    assert len(set(reader.images)) == 3
    assert max(most) == 2


def test_readers_go_to_other_processes(plate):
    dataset = open_crops(plate / "images", plate / "masks").dataset
    before = dataset[1].pixels
    again = pickle.loads(pickle.dumps(dataset))
    assert (again[1].pixels == before).all()
    files = [path.name for path in again.read.files_of(1)]
    assert files == ["A01_s2.tif", "A01_s2_nuclei.tif"]


class TestBadInput:
    def test_a_mask_of_another_size_spoils_its_image_alone(self, plate):
        save(plate / "masks" / "A01_s1_nuclei.tif", mask([])[:-1])
        save(plate / "masks" / "A01_s2_nuclei.tif", mask([(40, 40, 3)]))
        dataset = open_crops(plate / "images", plate / "masks").dataset
        assert len(dataset) == 2
        with pytest.raises(
            errors.DataError, match=r"has 59 × 80 pixels, but A01_s1.tif has 60 × 80"
        ):
            dataset[0]
        dataset = open_crops(plate / "images", plate / "masks", 16).dataset
        embedded = zoo.embed(dataset, "pixel-statistics", on_error="skip", cache=False)
        assert len(embedded) == 1
        ((name, reason),) = embedded.failures
        assert name == "A01_s1.tif"
        assert "masks must have the size of their images" in reason

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (mask([(20, 20, 2), (40, 40, 2)]) // 2 * 0 + 255 * (mask([(9, 9, 2), (40, 40, 2)]) > 0),
             "only 0 and 255 in 2 pieces: number each object"),
            (mask([(20, 20, 2)]) * np.float32(0.3), "must number objects by integers"),
            (mask([(20, 20, 2)]).astype(np.int16) * -1, "must number objects by integers"),
            (np.stack([mask([])] * 2), "has 2 channels, but must have one"),
        ],
    )  # fmt: skip
    def test_what_is_no_label_mask(self, plate, array, said):
        kinds = {"u": np.uint16}
        save(
            plate / "masks" / "A01_s1_nuclei.tif",
            array.astype(kinds.get(array.dtype.kind, array.dtype)),
        )
        dataset = open_crops(plate / "images", plate / "masks").dataset
        with pytest.raises(errors.DataError, match=said):
            dataset[0]

    def test_an_image_without_a_mask_is_named(self, plate):
        (plate / "masks" / "A01_s1_nuclei.tif").unlink()
        dataset = open_crops(plate / "images", plate / "masks").dataset
        with pytest.raises(errors.DataError, match="has no mask of A01_s1"):
            dataset[0]

    def test_two_masks_of_one_image(self, plate):
        save(plate / "masks" / "A01_s1_cells.tif", mask([]))
        with pytest.raises(errors.DataError, match=r"2 masks of A01_s1: .*choose with a pattern"):
            open_crops(plate / "images", plate / "masks")

    def test_an_empty_table_of_centroids(self, plate):
        location_table().iloc[:0].to_csv(plate / "Nuclei.csv", index=False)
        with pytest.raises(errors.DataError, match=r"Nuclei\.csv has no rows: there are no cent"):
            open_crops(plate / "images", plate / "Nuclei.csv")

    @pytest.mark.parametrize(
        ("columns", "said"),
        [
            ({"Metadata_Well": ["A01", "B01"]}, "does not tell them apart: A01 is of several"),
            ({}, "does not say which of the 3 images a row belongs to"),
            ({"image": ["x.tif", "y.tif"]}, "no row of .* belongs to one of the 3 images"),
            ({"image": "A01_s1.tif", "Location_Center_X": [1, None]}, "1 rows without a centroid"),
        ],
    )
    def test_tables_that_fit_no_image(self, plate, columns, said):
        location_table(**columns).to_csv(plate / "t.csv", index=False)
        with pytest.raises(errors.DataError, match=said):
            open_crops(plate / "images", plate / "t.csv")

    def test_a_table_without_centroids(self, plate):
        pd.DataFrame({"image": ["A01_s1.tif"], "area": [3]}).to_csv(plate / "t.csv", index=False)
        with pytest.raises(
            errors.DataError, match="has no centroids: columns such as Location_Cen"
        ):
            open_crops(plate / "images", plate / "t.csv")

    def test_centroids_beyond_the_image(self, plate):
        table = location_table(image="A01_s1.tif", Location_Center_X=[5.0, 80.0])
        table.to_csv(plate / "t.csv", index=False)
        with pytest.raises(errors.DataError, match=r"1 of 2 centroids lie beyond A01_s1.tif"):
            open_crops(plate / "images", plate / "t.csv")

    def test_crops_that_all_reach_beyond(self, plate):
        with pytest.raises(errors.DataError, match="all 3 crops of 70 pixels reach beyond"):
            open_crops(plate / "images", plate / "masks", 70)

    def test_no_objects_at_all(self, plate):
        with pytest.raises(
            errors.DataError, match="there are no objects of a mask in its 1 images"
        ):
            open_crops(plate / "images" / "B12_s1.tif", plate / "masks" / "B12_s1_nuclei.tif")

    def test_what_is_no_place_of_objects(self, plate):
        with pytest.raises(errors.DataError, match=r"'nucle', which is no file.* mean 'nuclei'"):
            open_crops(plate / "images", "nucle")
        with pytest.raises(errors.DataError, match="comes with no mask"):
            open_crops(plate / "images", "objects")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"crop_size": 9}, "crop_size .* needs crops"),
            ({"crops": "tiles"}, "crops .* needs crop_size"),
            ({"crops": "tiles", "crop_size": "9.5"}, "whole pixels above 0, or micrometres"),
            ({"crops": "tiles", "crop_size": 0}, "whole pixels above 0"),
            ({"crops": "nuclei", "crop_size": 9, "crop_stride": 4}, "crop_stride .* is of tiles"),
            ({"crops": "tiles", "crop_size": 9, "edge": "mirror"}, "one of drop, shift, pad"),
        ],
    )
    def test_options_that_do_not_go_together(self, plate, options, said):
        with pytest.raises(ValueError, match=said):
            zoo.open_images(plate / "images", **options)

    def test_without_cellpose_the_line_to_install_is_said(self, plate, monkeypatch):
        monkeypatch.setitem(sys.modules, "cellpose.models", None)
        with pytest.raises(errors.MissingExtraError, match=r"pip install .*cellpose"):
            open_crops(plate / "images", "cellpose")


def test_cells_of_cellpose_are_those_that_its_model_returns(plate, monkeypatch):
    """The network is a gigabyte, so one that returns a mask stands in for it."""
    asked = []

    class Model:
        def eval(self, array, channel_axis):
            asked.append((array.shape, channel_axis))
            return mask([(30, 30, 4)]), [], []

    module = types.ModuleType("cellpose.models")
    module.CellposeModel = Model
    monkeypatch.setitem(sys.modules, "cellpose", types.ModuleType("cellpose"))
    monkeypatch.setitem(sys.modules, "cellpose.models", module)
    source = open_crops(plate / "images" / "A01_s1.tif", "cellpose")
    assert asked == [((2, HEIGHT, WIDTH), 0)]
    assert centres(source) == [(1, 30, 30)]


def run(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "120"}).invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_from_the_command_line_to_a_table_and_a_job(plate):
    asked = ["--crops", plate / "masks", "--crop-size", 16, "--edge", "shift"]
    said = run("sources", plate / "images", *asked)
    assert (
        "crops of 16 pixels, objects of masks, of image files, one image in each, 3 crops" in said
    )
    out = plate / "cells.parquet"
    said = run("embed", plate / "images", "-e", "pixel-statistics", "-o", out, *asked)
    assert "3 crops" in said
    found = zoo.read_profiles(out)
    assert found.metadata["ObjectNumber"].tolist() == [2, 4, 2]
    assert found.provenance["crops"]["edge"] == "shift"
    job = plate / "job"
    run("embed", plate / "images", "-e", "pixel-statistics", "-o", job, *asked, "--shard-size", 2)
    assert (zoo.read_profiles(job).matrix == found.matrix).all()
    asked[-1] = "pad"
    said = run("embed", plate / "images", "-e", "pixel-statistics", "-o", job, *asked, code=1)
    assert "crops.edge was shift and is pad" in said


def test_single_nuclei_of_real_images(real_data, tmp_path):
    folder = real_data / "dsb2018"
    if not folder.is_dir():
        pytest.skip("no masks: set ZOO_TEST_DATA to a folder that holds dsb2018/")
    table = pd.read_csv(folder / "labels.csv").query("modality == 'fluorescence'").head(4)
    for column in ("image", "mask"):
        table[column] = [str(folder / name) for name in table[column]]
    table.to_csv(tmp_path / "nuclei.csv", index=False)
    out = tmp_path / "nuclei.parquet"
    asked = ["--crops", "mask", "--crop-size", 48, "--edge", "pad"]
    run("embed", tmp_path / "nuclei.csv", "-e", "pixel-statistics", "-o", out, *asked)
    found = zoo.read_profiles(out)
    assert len(found) == table["n_nuclei"].sum()
    assert set(found.metadata["n_nuclei"]) == set(table["n_nuclei"])
