"""OME-Zarr images and plates, and plain arrays; what is lost is an error, never black."""

import builtins
import json
import shutil

import numpy as np
import plates
import pytest

from zoo import errors
from zoo._data.sources import open_images, open_source

zarr = pytest.importorskip("zarr", reason='Zarr images need zarr: pip install "zarr>=3.1"')
PIXELS = plates.truth()["A01", "1"] + np.uint16(1)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
class TestPlates:
    def test_fields_are_images(self, tmp_path, version):
        source = open_source(plates.zarr_plate(tmp_path / "p.zarr", version=version))
        assert (source.kind, source.stains) == ("an OME-Zarr plate", plates.STAINS)
        table = source.dataset.metadata
        assert table["Metadata_Plate"].tolist() == [plates.PLATE] * 4
        assert table["Metadata_Well"].tolist() == ["A01", "A01", "B12", "B12"]
        assert table["Metadata_Site"].tolist() == ["1", "2", "1", "2"]
        for image, wanted in zip(source.dataset, plates.truth().values(), strict=True):
            assert (image.pixels == wanted).all()
            assert image.stains == plates.STAINS
            assert image.pixel_size == pytest.approx(plates.MICROMETRES)

    def test_wells_and_fields_that_are_not_there_are_left_out(self, tmp_path, version):
        folder = plates.zarr_plate(tmp_path / "p.zarr", version=version)
        shutil.rmtree(folder / "B")
        shutil.rmtree(folder / "A" / "1" / "0")
        source = open_source(folder)
        assert source.dataset.metadata["Metadata_Site"].tolist() == ["2"]
        assert source.left_out == {
            "fields that the plate lists and that are not there": ["p.zarr/A/1/0"],
            "wells that the plate lists and that are not there": ["p.zarr/B/12"],
        }
        shutil.rmtree(folder / "A")
        with pytest.raises(errors.DataError, match=r"none of the wells that it lists is there"):
            open_images(folder)

    def test_one_image(self, tmp_path, version):
        folder = plates.zarr_image(tmp_path / "A01_s1.zarr", PIXELS, version=version)
        dataset = open_images(folder)
        assert dataset.metadata["Metadata_Well"].tolist() == ["A01"]
        assert (dataset[0].pixels == PIXELS).all()

    def test_what_the_attributes_do_not_say_is_unknown(self, tmp_path, version):
        options = {"version": version, "unit": None, "names": ()}
        image = open_images(plates.zarr_image(tmp_path / "a.zarr", PIXELS, **options))[0]
        assert (image.pixel_size, image.stains) == (None, None)
        short = plates.zarr_image(tmp_path / "b.zarr", PIXELS, version=version, names=("DNA",))
        assert open_images(short)[0].stains is None


class TestLostChunks:
    def chunks(self, folder):
        files = [p for p in folder.rglob("s0/**/*") if p.is_file()]
        return sorted(p for p in files if p.name.replace(".", "").isdecimal())

    def test_a_lost_chunk_is_no_black(self, tmp_path):
        folder = plates.zarr_image(tmp_path / "a.zarr", PIXELS)
        assert len(self.chunks(folder)) == 4
        self.chunks(folder)[2].unlink()
        with pytest.raises(errors.ImageError, match=r"lacks 1 of 4 chunks, and plane 2 is black"):
            open_images(folder)[0]

    def test_a_copy_without_chunks(self, tmp_path):
        folder = plates.zarr_image(tmp_path / "a.zarr", PIXELS, version="0.4")
        for path in self.chunks(folder):
            path.unlink()
        with pytest.raises(errors.ImageError, match=r"lacks 4 of 4 chunks, and plane 1 is black"):
            open_images(folder)[0]

    def test_a_chunk_that_was_black_may_be_left_out(self, tmp_path):
        pixels = PIXELS.copy()
        pixels[1, :14] = 0
        folder = plates.zarr_image(tmp_path / "a.zarr", pixels)
        assert len(self.chunks(folder)) == 3
        assert (open_images(folder)[0].pixels == pixels).all()

    def test_a_broken_chunk_is_named(self, tmp_path):
        folder = plates.zarr_image(tmp_path / "a.zarr", PIXELS)
        path = self.chunks(folder)[0]
        path.write_bytes(path.read_bytes()[:7])
        with pytest.raises(errors.ImageError, match=r"s0 cannot be read"):
            open_images(folder)[0]


class TestArrays:
    def save(self, path, pixels, **arguments):
        array = zarr.create_array(path, shape=pixels.shape, dtype=pixels.dtype, **arguments)
        array[...] = pixels
        return path

    def test_plain_arrays(self, tmp_path):
        assert (open_images(self.save(tmp_path / "a.zarr", PIXELS))[0].pixels == PIXELS).all()
        stack = np.stack([PIXELS, PIXELS + np.uint16(1)])
        dataset = open_images(self.save(tmp_path / "b.zarr", stack))
        assert len(dataset) == 2
        assert (dataset[1].pixels == stack[1]).all()

    def test_named_and_given_axes(self, tmp_path):
        stack = np.stack([PIXELS, PIXELS + np.uint16(1)])
        names = {"dimension_names": ["z", "c", "y", "x"]}
        path = self.save(tmp_path / "a.zarr", stack, **names)
        with pytest.raises(errors.ImageError, match=r"for depth, choose with z="):
            open_images(path)[0]
        for z, wanted in (("max", stack[1]), (1, stack[0]), ("middle", stack[1])):
            assert (open_images(path, z=z)[0].pixels == wanted).all()
        plain = self.save(tmp_path / "b.zarr", stack)
        assert (open_images(plain, axes="ZCYX", z="max")[0].pixels == stack[1]).all()
        assert (open_images(plain, axes="CZYX", z=2)[0].pixels == stack[:, 1]).all()

    def test_a_folder_of_zarrs(self, tmp_path):
        for (well, site), pixels in plates.truth().items():
            plates.zarr_image(tmp_path / f"{well}_s{site}.zarr", pixels)
        dataset = open_images(tmp_path)
        assert dataset.metadata["Metadata_Well"].tolist() == ["A01", "A01", "B12", "B12"]
        assert (dataset[3].pixels == plates.truth()["B12", "2"]).all()

    def test_zarrs_beside_other_images_are_left_out(self, tmp_path):
        plates.write(tmp_path / "a.tif", PIXELS)
        plates.zarr_image(tmp_path / "b.zarr", PIXELS)
        source = open_source(tmp_path)
        assert len(source.dataset) == 1
        assert list(source.left_out.values()) == [["b.zarr"]]


class TestRefused:
    def test_series_of_bioformats2raw(self, tmp_path):
        plates.zarr_group(tmp_path / "a.zarr", {"bioformats2raw.layout": 3}, "0.4")
        for k in (0, 1):
            plates.zarr_image(tmp_path / "a.zarr" / str(k), PIXELS, version="0.4")
        assert open_images(tmp_path / "a.zarr").metadata["image"].tolist() == [
            "a.zarr/0",
            "a.zarr/1",
        ]

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            ({}, "without images: .* but nothing"),
            ({"labels": []}, "but version, labels"),
            ({"multiscales": [{"datasets": []}]}, "names no array of full size"),
        ],
    )
    def test_groups_without_images(self, tmp_path, said, message):
        plates.zarr_group(tmp_path / "a.zarr", said, "0.5" if said else "0.4")
        with pytest.raises(errors.DataError, match=message):
            open_images(tmp_path / "a.zarr")

    def test_broken_attributes(self, tmp_path):
        folder = plates.zarr_image(tmp_path / "a.zarr", PIXELS)
        text = (folder / "zarr.json").read_text()
        (folder / "zarr.json").write_text(text[: len(text) // 2])
        with pytest.raises(errors.DataError, match=r"zarr\.json is not JSON"):
            open_images(folder)
        assert json.loads(text)

    def test_without_zarr_the_line_to_install_is_said(self, tmp_path, monkeypatch):
        folder = plates.zarr_image(tmp_path / "a.zarr", PIXELS)
        whole = builtins.__import__

        def without(name, *arguments, **options):
            if name == "zarr":
                raise ImportError(name)
            return whole(name, *arguments, **options)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(errors.MissingExtraError, match=r'pip install "microscopy-zoo\[zarr\]"'):
            open_images(folder)
