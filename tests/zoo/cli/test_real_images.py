"""Real images from the command line to Parquet and AnnData: fields, a plate, nuclei, a slide."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import zoo
from zoo._cli import main

# Folder, options, and what the table must have.
CASES = {
    "fields": ([], ["image"]),
    "bbbc013": ([], ["Well", "compound", "dose_rank"]),
    "dsb2018": (
        ["--crops", "mask", "--crop-size", "64", "--edge", "pad"],
        ["ObjectNumber", "Location_Center_X", "AreaShape_Area", "modality"],
    ),
    "he_cmu1": (["--tile", "448", "--tile-pixel-size", "1.0"], ["Slide", "tile_x", "tissue"]),
}


def run(*words):
    done = CliRunner().invoke(main, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    return done.output


def first_rows(folder, path, count):
    """Write a table of the first images of a folder, which stay where they are."""
    table = pd.read_csv(folder / "labels.csv").head(count)
    for column in ("image", "mask"):
        table[column] = [str(folder / name) for name in table[column]]
    table.to_csv(path, index=False)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_from_files_to_parquet_and_anndata(real_data, tmp_path, name):
    anndata = pytest.importorskip("anndata")
    if name == "he_cmu1":
        pytest.importorskip("openslide")
    folder = real_data / name
    if not folder.is_dir():
        pytest.skip(f"no real images: set ZOO_TEST_DATA to a folder that holds {name}/")
    options, columns = CASES[name]
    if name == "dsb2018":  # all sixty take half a minute
        folder = first_rows(folder, tmp_path / "nuclei.csv", 12)
    for suffix in ("parquet", "h5ad"):
        asked = ["-e", "pixel-statistics-mean", "-o", tmp_path / f"x.{suffix}", *options]
        run("embed", folder, *asked)
    table = pd.read_parquet(tmp_path / "x.parquet")
    features = json.loads(pq.read_schema(tmp_path / "x.parquet").metadata[b"zoo_features"])
    data = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert data.X.tolist() == table[features].to_numpy().tolist()
    assert data.obs_names.is_unique
    known = {c.removeprefix("Metadata_").casefold(): c for c in table.columns}
    for column in columns:
        assert known[column.casefold()] in table.columns
        assert table[known[column.casefold()]].notna().all()
    assert len(table) == {
        "fields": 11,
        "bbbc013": 96,
    }.get(name, len(table))
    assert set(data.obs["zoo_run"]) == set(table["Metadata_zoo_run"])
    assert zoo.read_profiles(tmp_path / "x.h5ad").provenance["run"] == data.obs["zoo_run"].iloc[0]
