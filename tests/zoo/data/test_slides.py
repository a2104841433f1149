"""Whole slides: tiles at a pixel size, where there is tissue."""

import builtins
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner

from zoo import errors
from zoo._cli import main
from zoo._data.sources import open_images, open_source
from zoo._images.tissue import tissue_mask


def picture(tissue, size=(80, 80), noise=3):
    """A slide of grey glass, pink where there is tissue; noise as of a scanner."""
    rng = np.random.default_rng(0)
    found = np.full((*size, 3), 235.0)
    found[tissue] = (200, 110, 170)
    return (found + rng.normal(0, noise, found.shape)).clip(0, 255).astype(np.uint8)


class TestTissue:
    def test_tissue_is_what_has_colour(self):
        where = np.zeros((80, 80), bool)
        where[20:60, 10:50] = True
        # The median rounds the corners off.
        assert (tissue_mask(picture(where)) == where).mean() > 0.98

    def test_a_slide_of_tissue_alone_is_not_split(self):
        rng = np.random.default_rng(0)
        shades = picture(np.ones((80, 80), bool), noise=0) - rng.integers(0, 60, (80, 80, 1))
        assert tissue_mask(shades.astype(np.uint8)).mean() > 0.98

    def test_glass_alone_has_none(self):
        assert not tissue_mask(picture(np.zeros((80, 80), bool))).any()


def test_without_openslide_the_line_to_install_is_said(tmp_path, monkeypatch):
    whole = builtins.__import__

    def without(name, *arguments, **options):
        if name == "openslide":
            raise ImportError(name)
        return whole(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.svs").write_bytes(b"x")
    with pytest.raises(errors.MissingExtraError, match=r'pip install "microscopy-zoo\[slides\]"'):
        open_images(tmp_path / "a.svs")


@pytest.mark.parametrize(
    "options",
    [{"tile": 0}, {"tile_pixel_size": 0.0}, {"tissue": 1.5}, {"tissue": -0.1}, {"tile_stride": 0}],
)
def test_options_that_are_none(tmp_path, options):
    with pytest.raises(ValueError, match=r"must be"):
        open_images(tmp_path, **options)


class TestSlides:
    @pytest.fixture(autouse=True)
    def openslide(self):
        pytest.importorskip(
            "openslide", reason='slides need OpenSlide: pip install "microscopy-zoo[slides]"'
        )

    def slide(self, path, size=640, micrometres=True):
        """Write a tiled TIFF in Aperio's manner, with tissue in the left half."""
        where = np.zeros((size, size), bool)
        where[:, : size // 2] = True
        text = "Aperio Image Library v1\r\n640x640"
        text += "|AppMag = 20|MPP = 0.5" if micrometres else "|AppMag = 20"
        pixels = picture(where, (size, size))
        options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
        tifffile.imwrite(path, pixels, description=text, metadata=None, **options)
        return pixels

    def test_tiles_with_tissue_are_images(self, tmp_path):
        pixels = self.slide(tmp_path / "a.svs")
        source = open_source(tmp_path / "a.svs")
        assert source.kind == "tiles of 224 pixels at 0.5 µm of 1 whole slide(s)"
        assert source.dataset.metadata["tile_x"].tolist() == [0, 224, 0, 224]
        assert source.dataset.metadata["tile_y"].tolist() == [0, 0, 224, 224]
        image = source.dataset[1]
        assert (image.stains, image.pixel_size) == (("red", "green", "blue"), 0.5)
        assert (image.pixels == np.moveaxis(pixels[:224, 224:448], -1, 0)).all()

    def test_other_pixel_sizes_and_shares(self, tmp_path):
        pixels = self.slide(tmp_path / "a.svs")
        coarse = open_images(tmp_path / "a.svs", tile=80, tile_pixel_size=1.0, tissue=0.9)
        assert coarse.metadata["tile_x"].tolist() == [0, 160] * 4
        assert coarse[0].pixels.shape == (3, 80, 80)
        wanted = pixels[:160, :160].reshape(80, 2, 80, 2, 3).mean((1, 3))
        # A bilinear filter of two pixels reaches beyond them, into noise of three levels.
        assert np.abs(np.moveaxis(coarse[0].pixels, 0, -1) - wanted).mean() < 3
        assert len(open_images(tmp_path / "a.svs", tile=80, tile_pixel_size=1.0, tissue=0)) == 16

    def test_tiles_that_overlap(self, tmp_path):
        pixels = self.slide(tmp_path / "a.svs")
        found = open_images(tmp_path / "a.svs", tile_stride=112, tissue=0)
        side, height, width = 224, *pixels.shape[:2]
        expected = [
            (x, y)
            for y in range(0, height - side + 1, 112)
            for x in range(0, width - side + 1, 112)
        ]
        places = list(zip(found.metadata["tile_x"], found.metadata["tile_y"], strict=True))
        assert places == expected
        x, y = expected[-1]
        tile = np.moveaxis(pixels[y : y + side, x : x + side], -1, 0)
        assert (found[len(found) - 1].pixels == tile).all()

    def test_a_slide_without_micrometres_is_refused(self, tmp_path):
        self.slide(tmp_path / "a.svs", micrometres=False)
        with pytest.raises(errors.DataError, match=r"how many micrometres.*--pixel-size"):
            open_images(tmp_path / "a.svs")
        assert len(open_images(tmp_path / "a.svs", pixel_size=0.5)) == 4

    def test_slides_without_tiles(self, tmp_path):
        self.slide(tmp_path / "a.svs")
        with pytest.raises(errors.DataError, match=r"too small for a tile of 1000 pixels"):
            open_images(tmp_path / "a.svs", tile=1000)
        with pytest.raises(errors.DataError, match=r"none of the 1 tiles of a has 90% tissue"):
            open_images(tmp_path / "a.svs", tile=400, tissue=0.9)

    def test_a_broken_slide(self, tmp_path):
        (tmp_path / "a.svs").write_bytes(b"x")
        with pytest.raises(errors.DataError, match=r"a\.svs is no slide that OpenSlide reads"):
            open_images(tmp_path)

    def test_a_folder_of_slides(self, tmp_path):
        for name in ("a.svs", "b.svs"):
            self.slide(tmp_path / name)
        table = open_images(tmp_path).metadata
        assert table["Metadata_Slide"].tolist() == ["a.svs"] * 4 + ["b.svs"] * 4

    def test_a_real_slide(self, real_data, tmp_path):
        path = real_data / "he_cmu1" / "CMU-1-Small-Region.svs"
        if not path.is_file():
            pytest.skip("no real slide: set ZOO_TEST_DATA to a folder that holds he_cmu1/")
        every = open_images(path, tissue=0)
        assert len(every) == 117
        # A third of it is tissue.
        kept = open_images(path)
        assert 40 < len(kept) < 60
        assert 20 < len(open_images(path, tile_pixel_size=1.0, tissue=0)) < 28
        shutil.copy(path, tmp_path / "slide.svs")
        out = tmp_path / "profiles.parquet"
        command = ["embed", str(tmp_path / "slide.svs"), "-e", "pixel-statistics", "-o", str(out)]
        result = CliRunner().invoke(main, [*command, "--no-cache", "--tissue", "0.9"])
        assert result.exit_code == 0, result.output
        found = pd.read_parquet(out)
        assert 0 < len(found) < len(kept)
        assert found["Metadata_Slide"].unique().tolist() == ["slide.svs"]
