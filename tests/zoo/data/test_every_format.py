"""The same plate in every format gives the same pixels, wells, sites, stains, µm and profiles."""

import importlib.util
import pickle

import numpy as np
import pandas as pd
import plates
import pytest

import zoo
from zoo._data.choices import Choices
from zoo._data.sources import open_source

NAMES = dict(zip(plates.DYES, plates.STAINS, strict=True))
NUMBERS = {"1": "GFP", "2": "DNA"}
GIVEN = {"pixel_size": plates.MICROMETRES}


def load_data(folder):
    images = plates.ome_tiff(folder / "images")
    rows = [
        {"Metadata_Plate": plates.PLATE, "Metadata_Well": w, "Metadata_Site": s}
        | {f"FileName_Orig{n}": f"{w}_s{s}.ome.tif" for n in plates.STAINS}
        | {f"PathName_Orig{n}": images.name for n in plates.STAINS}
        | {f"Frame_Orig{n}": k for k, n in enumerate(plates.STAINS)}
        for w, s in plates.truth()
    ]
    pd.DataFrame(rows).to_csv(folder / "load_data.csv", index=False)
    return folder / "load_data.csv"


def table(folder, column="image_{}"):
    rows = []
    for well, _, _, site, c, _, plane in plates.planes():
        if c == 1:
            rows.append({"Metadata_Well": well, "Metadata_Site": site})
        name = f"{well} {site} {c}.tif"
        plates.write(folder / name, plane)
        rows[-1][f"image_{plates.STAINS[c - 1]}"] = name
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


def deep_profiler(folder):
    rows = {}
    for well, _, _, site, c, _, plane in plates.planes():
        name = f"{plates.PLATE}/{well}-{site}-{c}.tif"
        plates.write(folder / "inputs" / "images" / name, plane)
        position = {"Metadata_Plate": plates.PLATE, "Metadata_Well": well, "Metadata_Site": site}
        row = rows.setdefault((well, site), {**position, "Treatment": "DMSO@NA", "Dose": 1})
        row[plates.STAINS[c - 1]] = name
    path = folder / "inputs" / "metadata" / "index.csv"
    path.parent.mkdir()
    pd.DataFrame(list(rows.values())).to_csv(path, index=False)
    return path


def image_folder(folder):
    plates.ome_tiff(folder)
    rows = [
        {"file_name": f"{w}_s{s}.ome.tif", "Metadata_Well": w, "Metadata_Site": s}
        for w, s in plates.truth()
    ]
    pd.DataFrame(rows).to_json(folder / "metadata.jsonl", orient="records", lines=True)
    return folder


def arrays(folder):
    for (well, site), pixels in plates.truth().items():
        np.save(folder / f"{well}_s{site}.npy", pixels)
    return folder


def zarrs(folder, version):
    return plates.zarr_plate(folder / "plate.zarr", version=version)


# What is written, and what the user says where the format does not.
FORMATS = {
    "ImageXpress": (plates.imagexpress, {"stains": NAMES}),
    "Harmony 5": (plates.harmony, {"stains": NAMES}),
    "Harmony 7": (lambda f: plates.harmony(f, version=7), {"stains": NAMES}),
    "Yokogawa": (plates.yokogawa, {"stains": NAMES}),
    "scanR": (plates.scanr, {"stains": NAMES}),
    "IncuCyte": (plates.incucyte, {"stains": {"Green": "GFP", "Red": "DNA"}, **GIVEN}),
    "Cellomics": (plates.cellomics, {"stains": NUMBERS, **GIVEN}),
    "own names": (plates.own_names, {"pattern": plates.OWN_PATTERN, **GIVEN}),
    "OME-TIFF": (plates.ome_tiff, {}),
    "ImageJ": (plates.imagej, {}),
    "LoadData": (load_data, {}),
    "table": (table, GIVEN),
    "DeepProfiler": (deep_profiler, GIVEN),
    "image folder": (image_folder, {}),
    "OME-Zarr 0.4": (lambda f: zarrs(f, "0.4"), {}),
    "OME-Zarr 0.5": (lambda f: zarrs(f, "0.5"), {}),
}


@pytest.fixture(scope="module")
def expected():
    images = [zoo.Image(pixels, plates.STAINS) for pixels in plates.truth().values()]
    return zoo.embed(images, "pixel-statistics", cache=False).matrix


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same(tmp_path, name, expected):
    if "Zarr" in name and importlib.util.find_spec("zarr") is None:
        pytest.skip('Zarr images need zarr: pip install "zarr>=3.1"')
    build, said = FORMATS[name]
    source = open_source(build(tmp_path), Choices(channels=plates.STAINS, **said))
    # Workers get sources by pickling them.
    dataset = pickle.loads(pickle.dumps(source.dataset))
    assert dataset.metadata["Metadata_Well"].tolist() == ["A01", "A01", "B12", "B12"]
    assert dataset.metadata["Metadata_Site"].tolist() == ["1", "2", "1", "2"]
    for image, wanted in zip(dataset, plates.truth().values(), strict=True):
        assert (image.pixels == wanted).all()
        assert image.stains == plates.STAINS
        assert image.pixel_size == pytest.approx(plates.MICROMETRES)
    found = zoo.embed(dataset, "pixel-statistics", cache=False).matrix
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def real(real_data):
    if not (real_data / "plates" / "miniplate").is_dir():
        pytest.skip("no real plates: set ZOO_TEST_DATA to a folder that holds plates/")
    return real_data / "plates"


MINIPLATE = {
    "ome_tiff": {},
    "imagexpress": {"stains": {"FITC": "FKHR-GFP", "DAPI": "DNA"}, "pixel_size": 0.65},
    "harmony": {"stains": {"Alexa 488": "FKHR-GFP", "HOECHST 33342": "DNA"}},
    "load_data.csv": {"stains": {"GFP": "FKHR-GFP"}, "pixel_size": 0.65},
    "hcs_04.zarr": {},
}


@pytest.mark.parametrize("name", MINIPLATE)
def test_a_real_plate_in_every_format(real, name):
    if name.endswith("zarr"):
        pytest.importorskip("zarr", reason='Zarr images need zarr: pip install "zarr>=3.1"')
    stains = ("FKHR-GFP", "DNA")
    choices = Choices(channels=stains, **MINIPLATE[name])
    dataset = open_source(real / "miniplate" / name, choices).dataset
    truth = np.load(real / "miniplate" / "truth.npz")
    positions = dataset.metadata[["Metadata_Well", "Metadata_Site"]].agg("_".join, axis=1)
    assert positions.tolist() == truth.files
    for image, key in zip(dataset, truth.files, strict=True):
        assert (image.pixels == truth[key]).all()
        assert (image.stains, image.pixel_size) == (stains, pytest.approx(0.65))


def test_real_exports(real):
    phenix = open_source(real / "harmony_real_BSD3" / "Version1").dataset
    assert phenix.metadata["Metadata_Plate"].tolist() == ["BR00121482"]
    assert phenix[0].stains[4:] == ("HOECHST 33342", "Brightfield")
    assert phenix[0].pixel_size == pytest.approx(0.598, abs=1e-3)
    moved = {"tests/data/Version1": str(real / "harmony_real_BSD3" / "Version1")}
    table = real / "harmony_real_BSD3" / "Version1" / "load_data_version1.csv"
    loaded = open_source(table, Choices(moved=moved)).dataset[0]
    assert loaded.stains == ("RNA", "ER", "AGP", "Mito", "Brightfield", "DNA")
    assert (loaded.pixels[5] == phenix[0].pixels[4]).all()
    assert loaded.pixel_size == pytest.approx(phenix[0].pixel_size)
    human = open_source(real / "cytotable_examplehuman_BSD3")
    assert human.dataset.metadata["Metadata_Well"].tolist() == ["D03"]
    assert human.dataset[0].pixels.shape == (3, 512, 512)
    assert len(human.left_out["overlays"]) == 1
    assert len(open_source(real / "traps" / "hf_imagefolder").dataset) == 2
    assert open_source(real / "traps" / "load_data_frames.csv").dataset[7].stains == ("GFP", "DNA")
    lit = open_source(real / "miniplate" / "load_data_with_illum.csv").dataset[0].pixels
    function = np.load(real / "miniplate" / "illum" / "plate1" / "plate1_IllumDNA.npy")
    truth = np.load(real / "miniplate" / "truth.npz")["A01_1"]
    np.testing.assert_allclose(lit[0], truth[1] / function, rtol=1e-6)
