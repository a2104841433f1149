"""CRC-VAL-HE-7K from miniatures of both layouts, and real tiles."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as Picture
from zoo.plugins.datasets import he_crcval

from zoo import errors
from zoo._data.sources import load_dataset

CLASSES = ["ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM"]
NAMES = [f"{tissue}-TCGA-{code}" for tissue in CLASSES for code in ("AAICEQFN", "YKIDGGHP")]


def tile(name):
    """Pixels that tell the tile, (H, W, 3)."""
    rng = np.random.default_rng(NAMES.index(name))
    return rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def save_official(folder):
    for name in NAMES:
        place = folder / "CRC-VAL-HE-7K" / name.partition("-")[0]
        place.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(place / f"{name}.tif", tile(name), photometric="rgb")
    return folder


def save_plain(folder, tissues=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        Picture.fromarray(tile(name)).save(folder / f"{name}.png")
    tissues = [n.partition("-")[0] for n in NAMES] if tissues is None else tissues
    table = pd.DataFrame({"image": [f"{n}.png" for n in NAMES], "tissue": tissues})
    table.to_csv(folder / "labels.csv", index=False)
    return folder


def open_tiles(path=None):
    return load_dataset("he_crcval", path)


class TestLayouts:
    def test_both_give_the_same(self, tmp_path):
        official = open_tiles(save_official(tmp_path / "a"))
        plain = open_tiles(save_plain(tmp_path / "b"))
        for dataset in (official, plain):
            assert [Path(name).stem for name in dataset.metadata["image"]] == NAMES
            assert dataset.metadata["tissue"].tolist() == [c for c in CLASSES for _ in range(2)]
            assert dataset.metadata["meaning"].notna().all()
            for i, name in enumerate(NAMES):
                image = dataset[i]
                assert image.pixels.tolist() == np.moveaxis(tile(name), -1, 0).tolist()
                assert image.stains == ("red", "green", "blue")
                assert image.pixel_size == 0.5

    def test_other_files_are_no_tiles(self, tmp_path):
        save_official(tmp_path)
        place = tmp_path / "CRC-VAL-HE-7K" / "ADI"
        for name in ("._ADI-TCGA-AAAAAAAA.tif", "ADI-AAAFLCLY.tif", "XYZ-TCGA-AAAAAAAA.tif"):
            (place / name).write_bytes(b"x")
        (place / "ADI-TCGA-AAAAAAAA.txt").write_bytes(b"x")
        assert len(open_tiles(tmp_path)) == len(NAMES)

    def test_the_record_is_honest_about_patients(self, tmp_path):
        spec = open_tiles(save_plain(tmp_path)).spec
        assert spec.design.group == "image"
        assert any("not to other patients" in note for note in spec.notes)
        assert {task.kind for task in spec.design.tasks} == {"knn", "probe", "retrieval"}


class TestFaults:
    def test_another_folder(self, tmp_path):
        (tmp_path / "x.tif").write_bytes(b"")
        with pytest.raises(
            errors.DataError, match=r"no tiles of CRC-VAL-HE-7K: neither labels\.csv"
        ):
            open_tiles(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(errors.DataError, match="empty is empty"):
            open_tiles(tmp_path / "empty")

    def test_a_tile_in_the_folder_of_another_class(self, tmp_path):
        save_official(tmp_path)
        place = tmp_path / "CRC-VAL-HE-7K"
        (place / "TUM/TUM-TCGA-YKIDGGHP.tif").rename(place / "STR/TUM-TCGA-YKIDGGHP.tif")
        with pytest.raises(errors.DataError, match=r"TUM-TCGA-YKIDGGHP\.tif is named TUM.* in STR"):
            open_tiles(tmp_path)

    @pytest.mark.parametrize(
        ("tissue", "why"), [("XYZ", r"the tissue 'XYZ', which is none of ADI"), (None, "'nan'")]
    )
    def test_an_unknown_tissue(self, tmp_path, tissue, why):
        tissues = [tissue, *(n.partition("-")[0] for n in NAMES[1:])]
        with pytest.raises(errors.DataError, match=why):
            open_tiles(save_plain(tmp_path, tissues))

    def test_faults_of_the_table(self, tmp_path):
        folder = save_plain(tmp_path)
        (folder / f"{NAMES[3]}.png").unlink()
        with pytest.raises(errors.DataError, match=rf"1 of 18 files .*{NAMES[3]}\.png"):
            open_tiles(folder)
        (folder / "labels.csv").write_text("image,tissue\n,ADI\n")
        with pytest.raises(errors.DataError, match="rows without an image"):
            open_tiles(folder)
        (folder / "labels.csv").write_text("image,class\na,ADI\n")
        with pytest.raises(
            errors.DataError, match=r"lacks the column\(s\) tissue; it has image, cl"
        ):
            open_tiles(folder)

    def test_grey_tiles_are_named_when_read(self, tmp_path):
        folder = save_plain(tmp_path)
        Picture.fromarray(tile(NAMES[0])[..., 0]).save(folder / f"{NAMES[0]}.png")
        with pytest.raises(errors.DataError, match=rf"{NAMES[0]}\.png has 1 channel\(s\) instead"):
            open_tiles(folder)[0]


class TestDownload:
    @pytest.fixture
    def file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
        folder = save_official(tmp_path / "set")
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
            for path in sorted(folder.rglob("*.tif")):
                file.write(path, path.relative_to(folder))
        monkeypatch.setattr(he_crcval, "URL", (tmp_path / "set.zip").as_uri())
        return tmp_path / "set.zip"

    def test_the_published_archive_is_taken(self, file, monkeypatch):
        monkeypatch.setattr(he_crcval, "MD5", hashlib.md5(file.read_bytes()).hexdigest())
        assert len(open_tiles()) == len(NAMES)
        file.unlink()
        assert len(open_tiles()) == len(NAMES)

    def test_another_is_not(self, file):
        found = hashlib.md5(file.read_bytes()).hexdigest()
        with pytest.raises(errors.IntegrityError, match=rf"{found} instead of {he_crcval.MD5}"):
            open_tiles()


@pytest.fixture
def real(real_data):
    """Folder of its real images, or a skip."""
    if not (real_data / "he_crcval").is_dir():
        pytest.skip("the real images lack he_crcval/")
    return real_data / "he_crcval"


def test_real_tiles_are_told_by_table_and_by_name_alike(real, tmp_path):
    labels = pd.read_csv(real / "labels.csv")
    for name, tissue in zip(labels["image"], labels["tissue"], strict=True):
        (tmp_path / tissue).mkdir(exist_ok=True)
        (tmp_path / tissue / name).symlink_to(real / name)
    by_table, by_name = open_tiles(real), open_tiles(tmp_path)
    assert len(by_table) == len(by_name) == 32
    found = {Path(n).name: t for n, t in by_name.metadata[["image", "tissue"]].to_numpy()}
    assert found == dict(labels.to_numpy())
    assert {by_table[i].pixels.shape for i in range(32)} == {(3, 224, 224)}
    # Fat is empty and bright, lymphocytes are dense and dark: a mix-up of labels would show.
    light = pd.Series([by_table[i].pixels.mean() for i in range(32)])
    means = light.groupby(by_table.metadata["tissue"]).mean()
    assert means["ADI"] > means["LYM"] + 30
