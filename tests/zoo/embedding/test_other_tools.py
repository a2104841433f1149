"""Tables as other tools take them: pycytominer, copairs, scanpy, and anndata old and new."""

import json
import re
from pathlib import Path

import numpy as np
import other_tools
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
from click.testing import CliRunner

import zoo
from zoo._cli import main

HOW_TO = Path(__file__).parents[3] / "docs" / "site" / "how-to" / "pycytominer.md"


def mixed():
    """Metadata of every kind that tables have."""
    return pd.DataFrame(
        {
            "well": ["A01", None, "ü"],
            "dose µg/ml": ["1", "2", "2"],
            "dose µg_ml": ["a", "b", "c"],
            "count": [1, 2, 3],
            "area": [0.5, np.nan, 1],
            "treated": [True, False, True],
            "any": [None, True, 3],
            "missing": pd.array([1, None, 3], dtype="Int64"),
            "dtype": ["u1", "u2", "u2"],
        }
    )


def embeddings(table=None):
    table = mixed() if table is None else table
    matrix = np.random.default_rng(0).normal(size=(len(table), 4)).astype(np.float32)
    return zoo.Embeddings(matrix, table, {"zoo": "0", "encoder": "mine", "options": None})


def test_anndata_files_have_the_encodings_of_before_pandas_3(tmp_path):
    pytest.importorskip("anndata")
    h5py = pytest.importorskip("h5py")
    made = embeddings()
    made.write(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad") as file:
        kinds = {name: file["obs"][name].attrs["encoding-type"] for name in file["obs"]}
        assert kinds == {
            "_index": "string-array",
            "well": "categorical",
            "dose µg_ml_": "categorical",
            "dose µg_ml": "categorical",
            "count": "array",
            "area": "array",
            "treated": "array",
            "any": "categorical",
            "missing": "array",
            "dtype_": "categorical",
        }
        assert file["obs/well/categories"].attrs["encoding-type"] == "string-array"
        assert file["var/_index"].attrs["encoding-type"] == "string-array"
        assert file["obs/well/codes"][:].tolist() == [0, -1, 1]
        assert np.isnan(file["obs/missing"][1])
    again = zoo.read_profiles(tmp_path / "x.h5ad")
    assert again.matrix.tolist() == made.matrix.tolist()
    assert again.metadata["any"].tolist()[1:] == ["True", "3"]
    assert made.provenance.items() <= again.provenance.items()


def test_parquet_names_its_features(tmp_path):
    embeddings(mixed().drop(columns="any")).write(tmp_path / "x.parquet")
    said = pq.read_schema(tmp_path / "x.parquet").metadata
    assert json.loads(said[b"zoo_features"]) == [f"embedding_{i:04d}" for i in range(4)]
    assert zoo.feature_columns(tmp_path / "x.parquet") == json.loads(said[b"zoo_features"])
    assert json.loads(said[b"zoo"])["encoder"] == "mine"


def run(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """A folder of images: three plates, four wells, two sites, two compounds."""
    folder = tmp_path_factory.mktemp("plate")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        well, compound = f"A0{i // 2 % 4 + 1}", "DMSO" if i // 2 % 4 < 2 else "drug"
        light = 30 if compound == "DMSO" else 90
        tifffile.imwrite(folder / f"{i}.tif", rng.poisson(light, (32, 32)).astype(np.uint8))
        rows.append((f"{i}.tif", f"P{i // 8}", well, i % 2 + 1, compound))
    names = ["image", *(f"Metadata_{c}" for c in ("Plate", "Well", "Site", "compound"))]
    pd.DataFrame(rows, columns=names).to_csv(folder / "labels.csv", index=False)
    return folder


def test_a_run_of_small_work_is_named_in_its_table(plate, tmp_path):
    runs = {}
    for name, options in {
        "a.parquet": [],
        "b.csv": [],
        "c.h5ad": [],
        "d.csv": ["--scaling", "instance"],
        "e.csv": ["--z", "max"],
    }.items():
        run("embed", plate, "-e", "pixel-statistics", "-o", tmp_path / name, *options)
        found = zoo.read_profiles(tmp_path / name)
        (runs[name],) = set(found.metadata["zoo_run"])
        assert found.provenance["run"] == runs[name]
    assert runs["a.parquet"] == runs["b.csv"] == runs["c.h5ad"]
    assert len(set(runs.values())) == 3


def test_wells_as_anndata(plate, tmp_path):
    run("embed", plate, "-e", "pixel-statistics", "-o", tmp_path / "sites.h5ad")
    run("aggregate", tmp_path / "sites.h5ad", "-o", tmp_path / "wells.h5ad")
    found = zoo.read_profiles(tmp_path / "wells.h5ad")
    assert found.metadata["Well"].tolist() == ["A01", "A02", "A03", "A04"] * 3


CYTO = """
import sys
import numpy as np, pandas as pd
from pycytominer import aggregate, feature_select, normalize
from copairs.map import average_precision, mean_average_precision
import json, pyarrow.parquet as pq
path = sys.argv[1]
features = json.loads(pq.read_schema(path).metadata[b"zoo_features"])
normal = normalize(profiles=path, features=features, method="mad_robustize",
                   samples="Metadata_compound == 'DMSO'")
assert normal[features].dtypes.eq("float32").all() and len(normal) == 24
wells = aggregate(pd.read_parquet(path), features=features)
assert len(wells) == 12
kept = feature_select(normal, features=features, operation=["variance_threshold"])
assert {"Metadata_zoo_run", "Metadata_Plate", "Metadata_Well"} <= set(kept.columns)
metadata = normal[["Metadata_Plate", "Metadata_Well", "Metadata_compound"]]
scaled = normalize(profiles=path, features=features, method="standardize")
values = np.nan_to_num(scaled[features].to_numpy())
precision = average_precision(
    metadata, values, pos_sameby=["Metadata_compound"], pos_diffby=["Metadata_Plate"],
    neg_sameby=[], neg_diffby=["Metadata_compound"])
found = mean_average_precision(
    precision, ["Metadata_compound"], null_size=100, threshold=0.05, seed=0)
print(float(found["mean_average_precision"].min()), set(kept["Metadata_zoo_run"]).pop())
"""
SCANPY = """
import sys
import scanpy as sc
data = sc.read_h5ad(sys.argv[1])
sc.pp.neighbors(data, use_rep="X", n_neighbors=5)
sc.tl.umap(data)
print(data.obsm["X_umap"].shape, data.obs["compound"].dtype)
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    python = other_tools.python_of(tmp_path_factory.mktemp("tools"))
    if python is None:
        pytest.skip("pycytominer, copairs and scanpy cannot be installed here")
    return python


@pytest.mark.long
def test_pycytominer_copairs_and_scanpy_take_them_as_they_are(plate, tmp_path, tools):
    run("embed", plate, "-e", "pixel-statistics", "-o", tmp_path / "sites.parquet")
    run("embed", plate, "-e", "pixel-statistics", "-o", tmp_path / "sites.h5ad")
    score, of = other_tools.run(tools, CYTO, tmp_path / "sites.parquet").split()
    # The compounds differ threefold in brightness.
    assert float(score) > 0.9
    assert of == zoo.read_profiles(tmp_path / "sites.parquet").provenance["run"]
    assert other_tools.run(tools, SCANPY, tmp_path / "sites.h5ad").strip() == "(24, 2) category"


@pytest.mark.long
def test_the_how_to_of_pycytominer_runs(plate, tmp_path, tools):
    text = HOW_TO.read_text()
    (shell,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in shell.replace("\\\n", " ").splitlines():
        words = line.replace("plate/", f"{plate}/").split()
        words = [w if not w.endswith(".parquet") else str(tmp_path / w) for w in words]
        assert words[0] == "zoo"
        run(*words[1:])
    (code,) = re.findall(r"``` \{ \.python \.no-run \}\n(.*?)```", text, re.DOTALL)
    code = f"import os\nos.chdir({str(tmp_path)!r})\n" + code.replace("import zoo\n", "")
    features = zoo.feature_columns(tmp_path / "wells.parquet")
    code = code.replace('zoo.feature_columns("wells.parquet")', repr(features))
    assert "zoo." not in code
    other_tools.run(tools, code)
    selected = pd.read_parquet(tmp_path / "selected.parquet")
    assert len(selected) == 12
    assert "Metadata_zoo_run" in selected
