"""CellProfiler LoadData tables: columns, paths, pages, illumination functions and bad rows."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import plates
import pytest
import tifffile

from zoo import errors
from zoo._data.choices import Choices
from zoo._data.sources import open_images, open_source

STAINS = ("DNA", "GFP")


def rows(folder, *, place="images", prefix="", orig="Orig"):
    """Write the files of the plate, and return its table; DNA is the second channel."""
    found = []
    for well, _, _, site, c, _, plane in plates.planes():
        name = f"{well} s{site} ü{c}.tif"
        tifffile.imwrite(folder / "images" / name, plane) if (folder / "images").is_dir() else (
            plates.write(folder / "images" / name, plane)
        )
        if c == 1:
            found.append({"Metadata_Plate": "001", "Metadata_Well": well, "Metadata_Site": site})
        stain = f"{orig}{('GFP', 'DNA')[c - 1]}"
        found[-1] |= {f"FileName_{stain}": name, f"PathName_{stain}": place}
    table = pd.DataFrame(found)
    columns = [*table.columns[:3], *sorted(table.columns[3:])]
    return table[columns].rename(columns=lambda c: prefix + c)


def save(folder, table, name="load_data.csv"):
    table.to_csv(folder / name, index=False) if name.endswith("csv") else table.to_parquet(
        folder / name
    )
    return folder / name


def check(dataset, *, stains=STAINS):
    truth = plates.truth()
    assert dataset.metadata["Metadata_Plate"].tolist() == ["001"] * 4
    assert dataset.metadata["Metadata_Well"].tolist() == ["A01", "A01", "B12", "B12"]
    assert dataset.metadata["Metadata_Site"].tolist() == ["1", "2", "1", "2"]
    assert not [c for c in dataset.metadata if "FileName" in c or "PathName" in c]
    for image, wanted in zip(dataset, truth.values(), strict=True):
        assert (image.pixels == wanted[::-1]).all()
        assert image.stains == stains


class TestColumns:
    @pytest.mark.parametrize("name", ["load_data.csv", "load_data.parquet"])
    @pytest.mark.parametrize("prefix", ["", "Image_"])
    @pytest.mark.parametrize("orig", ["", "Orig"])
    def test_names_of_channels(self, tmp_path, name, prefix, orig):
        table = rows(tmp_path, prefix=prefix, orig=orig)
        source = open_source(save(tmp_path, table, name))
        assert source.kind == "a CellProfiler LoadData table"
        assert source.stains == STAINS
        check(source.dataset)

    def test_wells_are_spelt_as_usual(self, tmp_path):
        table = rows(tmp_path).replace({"Metadata_Well": {"A01": "a1"}})
        table["Metadata_Site"] = table["Metadata_Site"].map("{:02d}".format)
        check(open_images(save(tmp_path, table.rename(columns={"Metadata_Well": "Metadata_well"}))))

    def test_other_columns_stay(self, tmp_path):
        table = rows(tmp_path).assign(Metadata_dose="0.5", Count_Nuclei=7)
        found = open_images(save(tmp_path, table)).metadata
        assert found["Metadata_dose"].tolist() == ["0.5"] * 4
        assert found["Count_Nuclei"].tolist() == [7] * 4
        assert found["image"].iloc[0] == "A01 s1 ü2.tif"

    def test_urls(self, tmp_path):
        table = rows(tmp_path)
        for stain in ("OrigDNA", "OrigGFP"):
            names = table.pop(f"FileName_{stain}")
            del table[f"PathName_{stain}"]
            table[f"URL_{stain}"] = [(tmp_path / "images" / n).as_uri() for n in names]
        check(open_images(save(tmp_path, table)))
        table["URL_OrigDNA"] = "nowhere://bucket/plates/" + rows(tmp_path)["FileName_OrigDNA"]
        path = save(tmp_path, table)
        with pytest.raises(errors.ImageError, match=r"nowhere://bucket/plates/A01 s1 .*cannot be"):
            open_images(path)[0]
        check(open_images(path, paths={"nowhere://bucket/plates": str(tmp_path / "images")}))

    @pytest.mark.parametrize(
        "place",
        ["/home/ubuntu/plates", "D:\\lab\\plates", "\\\\server\\share\\plates\\", "nowhere://b/p"],
    )
    def test_places_on_other_machines_are_mapped(self, tmp_path, place):
        path = save(tmp_path, rows(tmp_path, place=place))
        with pytest.raises(errors.ImageError, match=r"is missing|--path|cannot be fetched"):
            open_images(path)[0]
        check(open_images(path, paths={place: str(tmp_path / "images")}))

    def test_pages_of_one_file(self, tmp_path):
        for (well, site), pixels in plates.truth().items():
            plates.write(tmp_path / f"{well}_{site}.ome.tif", pixels, metadata={"axes": "CYX"})
        table = rows(tmp_path).iloc[:, :3]
        for frame, stain in enumerate(("GFP", "DNA")):
            table[f"FileName_{stain}"] = [
                f"{w}_{s}.ome.tif" for w, s in zip(table.iloc[:, 1], table.iloc[:, 2], strict=True)
            ]
            table[f"Frame_{stain}"] = frame
            table[f"Series_{stain}"] = 0
        check(open_images(save(tmp_path, table), channels=STAINS))
        frames = [c for c in table if c.startswith("Frame")]
        whole = table.drop(columns=frames).assign(FileName_DNA=table["FileName_DNA"].iloc[1])
        path = save(tmp_path, whole)
        with pytest.raises(errors.ImageError, match=r"holds 2 channels, but .* column Frame_GFP"):
            open_images(path)[0]
        with pytest.raises(errors.ImageError, match=r"page 5 of series 0"):
            open_images(save(tmp_path, table.assign(Frame_DNA=5)))[0]

    def test_micrometres_of_harmony(self, tmp_path):
        table = rows(tmp_path).assign(Metadata_ImageResolutionX="5.98E-07")
        assert open_images(save(tmp_path, table))[0].pixel_size == pytest.approx(0.598)

    def test_masks_of_objects(self, tmp_path):
        mask = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)
        plates.write(tmp_path / "masks" / "m.tif", mask)
        table = rows(tmp_path).assign(
            ObjectsFileName_Nuclei="m.tif", ObjectsPathName_Nuclei="masks"
        )
        source = open_source(save(tmp_path, table))
        assert (source.dataset[0].mask == mask).all()
        assert source.notes == ("masks of the objects Nuclei",)


class TestIllumination:
    def functions(self, folder, suffix=".npy"):
        made = {}
        for k, stain in enumerate(("DNA", "GFP")):
            made[stain] = 1 + k + np.linspace(0, 1, 24 * 32).reshape(24, 32)
            if suffix == ".npy":
                np.save(folder / f"Illum{stain}.npy", made[stain])
            else:
                from scipy.io import savemat

                savemat(folder / f"Illum{stain}.mat", {"Image": made[stain]})
        return made

    @pytest.mark.parametrize("suffix", [".npy", ".mat"])
    def test_images_are_divided(self, tmp_path, suffix):
        made = self.functions(tmp_path, suffix)
        table = rows(tmp_path)
        for stain in made:
            table[f"FileName_Illum{stain}"] = f"Illum{stain}{suffix}"
            table[f"PathName_Illum{stain}"] = "."
        dataset = open_images(save(tmp_path, table))
        wanted = plates.truth()["A01", "2"][::-1] / np.stack([made["DNA"], made["GFP"]])
        assert dataset[1].stains == STAINS
        # Divided in float64 and kept as float32.
        np.testing.assert_allclose(dataset[1].pixels, wanted, rtol=1e-6)

    def test_functions_that_do_not_fit(self, tmp_path):
        table = rows(tmp_path).assign(FileName_IllumDNA="gone.npy")
        with pytest.raises(errors.ImageError, match=r"function .*gone\.npy is missing"):
            open_images(save(tmp_path, table))[0]
        np.save(tmp_path / "small.npy", np.ones((2, 2)))
        table = table.assign(FileName_IllumDNA="small.npy")
        with pytest.raises(errors.ImageError, match=r"small\.npy is \(2, 2\), but the image"):
            open_images(save(tmp_path, table))[0]
        np.save(tmp_path / "zero.npy", np.zeros((24, 32)))
        table = table.assign(FileName_IllumDNA="zero.npy")
        with pytest.raises(errors.ImageError, match=r"zero\.npy .* must be rows and columns"):
            open_images(save(tmp_path, table))[0]

    def test_functions_without_a_channel_are_left_out(self, tmp_path):
        source = open_source(save(tmp_path, rows(tmp_path).assign(FileName_IllumER="a.npy")))
        assert list(source.left_out.values()) == [["IllumER"]]
        check(source.dataset)


class TestBadRows:
    def test_one_file_for_two_channels_is_refused(self, tmp_path):
        table = rows(tmp_path)
        table.loc[1, "FileName_OrigDNA"] = table.loc[1, "FileName_OrigGFP"]
        source = open_source(save(tmp_path, table))
        assert "1 rows name one file for two channels: row 2" in source.notes[0]
        with pytest.raises(
            errors.DataError, match=r"row 2 of load_data\.csv names one file for .* OrigDNA and Ori"
        ):
            source.dataset[1]
        assert source.dataset[2].stains == STAINS
        table["FileName_OrigDNA"] = table["FileName_OrigGFP"]
        with pytest.raises(errors.DataError, match=r"in every row: write the right file"):
            open_images(save(tmp_path, table))

    def test_a_missing_file_or_name_is_an_error_of_its_row(self, tmp_path):
        table = rows(tmp_path)
        (tmp_path / "images" / table.loc[0, "FileName_OrigDNA"]).unlink()
        table.loc[1, "FileName_OrigDNA"] = None
        dataset = open_images(save(tmp_path, table))
        with pytest.raises(errors.ImageError, match=r"A01 s1 ü2\.tif is missing"):
            dataset[0]
        with pytest.raises(errors.DataError, match=r"row 2 .*names no file for .* OrigDNA"):
            dataset[1]
        assert dataset[2].pixels.shape == (2, 24, 32)

    def test_channels_without_files_are_left_out(self, tmp_path):
        source = open_source(save(tmp_path, rows(tmp_path).assign(FileName_OrigER=None)))
        assert source.left_out == {"channels without files": ["OrigER"]}
        check(source.dataset)

    def test_overlays_of_a_pipeline_are_left_out(self, tmp_path):
        source = open_source(save(tmp_path, rows(tmp_path).assign(FileName_OrigOverlay="a.png")))
        assert list(source.left_out.values()) == [["OrigOverlay"]]
        check(source.dataset)


MOVED = {
    "/old": "new",
    "/old/plate/in": "elsewhere",
    "/was/u": "/is/ü",
    "C:\\data": "/mnt/data",
    "\\\\SERVER\\share\\in": "/mnt/in",
}


@pytest.mark.parametrize("moved", [{}, MOVED], ids=["as they are", "moved"])
def test_files_that_a_job_watches_are_those_that_are_read(tmp_path, moved, monkeypatch):
    """`files_of` keeps what paths begin with; each is compared with the path that is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "ü.tif").write_bytes(b"")
    folders = (
        *("images", "images/", " images ", "/old/plate", "/old/plate/", "/old", "/older", "/", ""),
        *("/was/u", "/was", "//server/share", "a b", "ü", None),
    )
    names = ("a.tif", " b c.tif ", "ü.tif", "in/d.tif", "/old/e.tif", "sub/../f.tif", "", None)
    table = pd.DataFrame(
        [(name, folder) for name in names for folder in folders],
        columns=["FileName_DNA", "PathName_DNA"],
    )
    path = tmp_path / "load_data.parquet"
    table.to_parquet(path)
    reader = open_source(path, Choices(moved=moved)).dataset.read
    while not hasattr(reader, "channels"):
        reader = reader.read
    ((_, columns),) = reader.channels
    for i in range(len(table)):
        read = columns.path(i, tmp_path, moved)
        assert [*map(Path, reader.files_of(i))] == ([] if read is None else [read]), table.loc[i]


def test_200_000_rows_of_two_channels_open_in_a_second(tmp_path):
    lines = (
        f"P{i % 8},A{i % 24 + 1:02d},{i % 9},{i}_1.tif,/data/p,{i}_2.tif,/data/p"
        for i in range(200_000)
    )
    head = "Metadata_Plate,Metadata_Well,Metadata_Site,"
    head += "FileName_DNA,PathName_DNA,FileName_ER,PathName_ER"
    path = tmp_path / "t.csv"
    path.write_text("\n".join([head, *lines]))
    open_source(save(tmp_path, rows(tmp_path)), Choices())
    started = time.process_time()
    dataset = open_images(path)
    taken = time.process_time() - started
    assert len(dataset) == 200_000
    # Three quarters of a second where nothing else runs; a loop over rows took 13.8.
    assert taken < 2
