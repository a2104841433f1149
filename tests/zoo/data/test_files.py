"""Files, folders of classes, image folders, arrays and OME-TIFF sets."""

import json

import numpy as np
import pandas as pd
import plates
import pytest

from zoo import errors
from zoo._data.sources import open_images, open_source


def plane(path, value=0):
    return plates.write(path, np.full((4, 4), value, np.uint8))


class TestPositions:
    @pytest.mark.parametrize("build", [plates.ome_tiff, plates.imagej])
    def test_wells_and_sites_of_names(self, tmp_path, build):
        dataset = open_images(build(tmp_path))
        assert dataset.metadata["Metadata_Well"].tolist() == ["A01", "A01", "B12", "B12"]
        assert dataset.metadata["Metadata_Site"].tolist() == ["1", "2", "1", "2"]
        for image, wanted in zip(dataset, plates.truth().values(), strict=True):
            assert (image.pixels == wanted).all()
            assert image.stains == plates.STAINS
            assert image.pixel_size == pytest.approx(plates.MICROMETRES)

    def test_names_that_are_not_all_wells_give_none(self, tmp_path):
        plane(tmp_path / "A01.tif")
        plane(tmp_path / "notes.tif")
        assert open_images(tmp_path).metadata.columns.tolist() == ["image"]


def ome_set(folder, *, master=False):
    """Write one image of two channels into two files that describe it, or one that does."""
    pixels = plates.truth()["A01", "1"]
    ids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(2)]
    parts = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1"><UUID FileName="c{i}.ome.tif">{ids[i]}'
        "</UUID></TiffData>"
        for i in range(2)
    )
    for i in range(2):
        text = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{ids[i]}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" DimensionOrder="XYCZT" '
            'SizeX="32" SizeY="24" SizeC="2" SizeZ="1" SizeT="1"><Channel ID="C:0" Name="GFP"/>'
            f'<Channel ID="C:1" Name="DNA"/>{parts}</Pixels></Image></OME>'
        )
        if master and i == 0:
            text = f'<OME UUID="{ids[0]}"><BinaryOnly MetadataFile="{master}" UUID="x"/></OME>'
        plates.write(folder / f"c{i}.ome.tif", pixels[i], description=text)
    return pixels


class TestOmeSets:
    def test_an_image_of_several_files_is_one_image_once(self, tmp_path):
        pixels = ome_set(tmp_path)
        source = open_source(tmp_path)
        assert source.dataset.metadata["image"].tolist() == ["c0.ome.tif"]
        assert (source.dataset[0].pixels == pixels).all()
        assert source.dataset[0].stains == ("GFP", "DNA")
        assert list(source.left_out.values()) == [["c1.ome.tif"]]

    def test_the_file_that_describes_the_others_stands_for_them(self, tmp_path):
        pixels = ome_set(tmp_path, master="c1.ome.tif")
        dataset = open_images(tmp_path)
        assert dataset.metadata["image"].tolist() == ["c1.ome.tif"]
        assert (dataset[0].pixels == pixels).all()

    @pytest.mark.parametrize("master", ["gone.ome.tif", "all.companion.ome"])
    def test_a_description_elsewhere_is_refused(self, tmp_path, master):
        ome_set(tmp_path, master=master)
        with pytest.raises(errors.DataError, match=rf"{master} describes, which is not"):
            open_images(tmp_path)

    def plate(self, folder, *, several=True):
        """Write two fields of two channels, all described in each file, or in one file."""
        truth = plates.truth()
        names = [f"f{i}.ome.tif" if several else "all.ome.tif" for i in range(4)]
        images = wells = ""
        for k, well in enumerate(("A01", "B12")):
            parts = "".join(
                f'<TiffData FirstC="{c}" IFD="{0 if several else 2 * k + c}" PlaneCount="1">'
                f'<UUID FileName="{names[2 * k + c]}">urn:uuid:{2 * k + c if several else 0}</UUID>'
                "</TiffData>"
                for c in (0, 1)
            )
            channels = "".join(f'<Channel ID="C:{k}:{c}" Name="{"ab"[k]}{c}"/>' for c in (0, 1))
            images += (
                f'<Image ID="Image:{k}" Name="field {k}"><Pixels ID="Pixels:{k}" Type="uint16" '
                f'DimensionOrder="XYCZT" SizeX="32" SizeY="24" SizeC="2" SizeZ="1" SizeT="1" '
                f'PhysicalSizeX="0.{k + 1}" PhysicalSizeY="0.{k + 1}">{channels}{parts}</Pixels>'
                "</Image>"
            )
            row, column = "AB".index(well[0]), int(well[1:]) - 1
            wells += (
                f'<Well ID="W:{k}" Row="{row}" Column="{column}"><WellSample ID="S:{k}" Index="0">'
                f'<ImageRef ID="Image:{k}"/></WellSample></Well>'
            )
        space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
        rest = f'<Plate ID="Plate:0" Name="001">{wells}</Plate>{images}</OME>'
        planes = [p for well in ("A01", "B12") for p in truth[well, "1"]]
        for i, pixels in enumerate(planes if several else [np.stack(planes)]):
            text = f'<OME xmlns="{space}" UUID="urn:uuid:{i}">{rest}'
            plates.write(folder / names[i], pixels, description=text)
        return truth

    @pytest.mark.parametrize("several", [True, False])
    def test_files_that_describe_a_plate(self, tmp_path, several):
        truth = self.plate(tmp_path, several=several)
        source = open_source(tmp_path)
        table = source.dataset.metadata
        assert source.kind == "OME-TIFF files of several images"
        assert table["Metadata_Plate"].tolist() == ["001", "001"]
        assert table["Metadata_Well"].tolist() == ["A01", "B12"]
        assert table["Metadata_Site"].tolist() == ["1", "1"]
        for k, well in enumerate(("A01", "B12")):
            image = source.dataset[k]
            assert (image.pixels == truth[well, "1"]).all()
            assert image.stains == tuple(f"{'ab'[k]}{c}" for c in (0, 1))
            assert image.pixel_size == pytest.approx((k + 1) / 10)

    def test_images_of_a_description_that_are_not_there(self, tmp_path):
        truth = self.plate(tmp_path)
        for name in ("f0.ome.tif", "f1.ome.tif"):
            (tmp_path / name).unlink()
        source = open_source(tmp_path)
        assert source.dataset.metadata["Metadata_Well"].tolist() == ["B12"]
        assert (source.dataset[0].pixels == truth["B12", "1"]).all()
        assert source.dataset[0].stains == ("b0", "b1")
        assert sorted(map(len, source.left_out.values())) == [1, 1]

    def test_a_file_of_a_set_is_the_whole_image(self, tmp_path):
        pixels = ome_set(tmp_path)
        assert (open_images(tmp_path / "c1.ome.tif")[0].pixels == pixels).all()

    def test_a_broken_file_is_named_when_it_is_read(self, tmp_path):
        (tmp_path / "a.ome.tif").write_bytes(b"")
        with pytest.raises(errors.ImageError, match=r"a\.ome\.tif cannot be read"):
            open_images(tmp_path)[0]


class TestClasses:
    def test_folders_are_labels(self, tmp_path):
        for k, name in enumerate(("cat/1.tif", "cat/2.tif", "dog/1.tif")):
            plane(tmp_path / name, k)
        source = open_source(tmp_path)
        assert source.kind == "image files in folders of classes"
        assert source.dataset.metadata["label"].tolist() == ["cat", "cat", "dog"]

    def test_splits_are_no_labels(self, tmp_path):
        for name in ("train/cat/1.tif", "test/dog/1.tif"):
            plane(tmp_path / name)
        table = open_images(tmp_path).metadata
        assert table["split"].tolist() == ["test", "train"]
        assert table["label"].tolist() == ["dog", "cat"]

    @pytest.mark.parametrize(
        "names", [("a.tif", "x/b.tif"), ("x/a.tif", "x/b.tif"), ("x/y/z/a.tif",)]
    )
    def test_other_folders_are_no_classes(self, tmp_path, names):
        for name in names:
            plane(tmp_path / name)
        assert "label" not in open_images(tmp_path).metadata


class TestImageFolders:
    def rows(self, folder):
        rows = [{"file_name": f"x/{k}.tif", "dose": k, "plate": "001"} for k in (2, 1)]
        for k in (1, 2, 3):
            plane(folder / "x" / f"{k}.tif", k)
        return rows

    @pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "train/metadata.csv"])
    def test_the_table_names_the_images(self, tmp_path, name):
        path = tmp_path / name
        rows = self.rows(path.parent)
        if path.suffix == ".csv":
            pd.DataFrame(rows).to_csv(path, index=False)
        else:
            path.write_text("\n".join(map(json.dumps, rows)))
        source = open_source(tmp_path)
        assert source.kind == f"an image folder with {name}"
        assert source.dataset.metadata["dose"].tolist() == [2, 1]
        assert source.dataset.metadata["plate"].tolist() == ["001", "001"]
        assert [image.pixels.max() for image in source.dataset] == [2, 1]
        assert [len(f) for f in source.left_out.values()] == [1]

    def test_splits_are_joined(self, tmp_path):
        for split in ("train", "test"):
            pd.DataFrame(self.rows(tmp_path / split)).to_csv(tmp_path / split / "metadata.csv")
        table = open_images(tmp_path).metadata
        assert table["split"].tolist() == ["test", "test", "train", "train"]
        assert table["image"].tolist()[0] == "test/x/2.tif"

    @pytest.mark.parametrize(
        ("line", "message"), [("{", "line 2 .* is not JSON"), ("1", "no JSON o")]
    )
    def test_lines_that_are_no_objects(self, tmp_path, line, message):
        (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.tif"}\n' + line)
        with pytest.raises(errors.DataError, match=message):
            open_images(tmp_path)


class TestArrays:
    def test_an_array_of_images(self, tmp_path):
        stack = np.stack(list(plates.truth().values()))
        np.save(tmp_path / "a.npy", stack)
        source = open_source(tmp_path / "a.npy")
        assert (source.kind, len(source.dataset)) == ("an array of images", 4)
        assert all((i.pixels == w).all() for i, w in zip(source.dataset, stack, strict=True))

    def test_an_archive_of_images(self, tmp_path):
        named = {f"{well}_{site}": pixels for (well, site), pixels in plates.truth().items()}
        np.savez(tmp_path / "a.npz", **named)
        dataset = open_images(tmp_path / "a.npz")
        assert dataset.metadata["image"].tolist() == list(named)
        wanted = named.values()
        assert all((i.pixels == w).all() for i, w in zip(dataset, wanted, strict=True))

    def test_a_folder_of_arrays(self, tmp_path):
        for (well, site), pixels in plates.truth().items():
            np.save(tmp_path / f"{well}_s{site}.npy", pixels)
        dataset = open_images(tmp_path)
        assert dataset.metadata["Metadata_Well"].tolist() == ["A01", "A01", "B12", "B12"]
        assert (dataset[3].pixels == plates.truth()["B12", "2"]).all()

    def test_axes_that_are_named(self, tmp_path):
        np.save(tmp_path / "a.npy", np.stack(list(plates.truth().values())))
        found = open_images(tmp_path / "a.npy", axes="ZCYX", z="max")
        assert len(found) == 1
        assert found[0].pixels.shape == (2, 24, 32)

    @pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
    def test_broken_arrays(self, tmp_path, content):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(errors.DataError, match=r"a\.npy cannot be read .*is it truncated"):
            open_images(tmp_path / "a.npy")

    def test_pickles_are_not_run(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(errors.DataError, match=r"a\.npy cannot be read"):
            open_images(tmp_path / "a.npy")
