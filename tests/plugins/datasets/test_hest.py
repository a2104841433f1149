"""HEST from a miniature of one task of its benchmark: patches, counts in every form, patients."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo import errors
from zoo._data.sources import load_dataset

h5py = pytest.importorskip("h5py", reason="HEST needs h5py, of the extra 'tissue'")
scipy_sparse = pytest.importorskip("scipy.sparse")

SAMPLES = {"TENX1": "p1", "TENX2": "p1", "NCBI3": "p2", "NCBI4": "p3"}
ALL = [f"G{i}" for i in range(9)]
LISTED = ["G7", "G2", "G5", "G0", "G3", "G8", "G1"]
SPOTS, PATCHES, SIDE = 8, 6, 32


def counts(sample):
    """Counts of all genes at all spots of a sample."""
    rng = np.random.default_rng([*map(ord, sample)])
    return rng.poisson(np.arange(1, 10), (SPOTS, len(ALL))) * (rng.random((SPOTS, 9)) < 0.7)


def names(sample):
    return [f"{sample}-{i}x" for i in range(SPOTS)]


def order(sample):
    """Spots with a patch, in the order of the patches."""
    return np.random.default_rng([*map(ord, sample), 1]).permutation(SPOTS)[:PATCHES]


def pixels(sample):
    rng = np.random.default_rng([*map(ord, sample), 2])
    return rng.integers(0, 256, (PATCHES, SIDE, SIDE, 3), dtype=np.uint8)


def save_patches(folder, sample, **changes):
    content = {
        "img": pixels(sample),
        "barcode": np.array([[names(sample)[i].encode()] for i in order(sample)]),
        "coords": np.stack([order(sample), order(sample) * 10], axis=1),
        **changes,
    }
    (folder / "patches").mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "patches" / f"{sample}.h5", "w") as file:
        for name, values in content.items():
            if values is not None:
                file[name] = values


def save_counts(folder, sample, kind="csr_matrix", matrix=None, genes=ALL):
    matrix = counts(sample).astype(np.float32) if matrix is None else matrix
    (folder / "adata").mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "adata" / f"{sample}.h5ad", "w") as file:
        if kind == "array":
            file["X"] = matrix
        else:
            make = getattr(scipy_sparse, kind.replace("matrix", "array"))(matrix)
            x = file.create_group("X")
            x.attrs["encoding-type"], x.attrs["shape"] = kind, matrix.shape
            x["data"], x["indices"], x["indptr"] = make.data, make.indices, make.indptr
        for axis, values in (("obs", names(sample)), ("var", genes)):
            group = file.create_group(axis)
            group.attrs["_index"] = "_index"
            group["_index"] = np.array(values, dtype=h5py.string_dtype())


def save(folder, kind="csr_matrix", listed=LISTED, patients="splits"):
    for sample in SAMPLES:
        save_patches(folder, sample)
        save_counts(folder, sample, kind)
    (folder / "var_50genes.json").write_text(json.dumps({"genes": listed}))
    if patients == "splits":
        (folder / "splits").mkdir()
        for k, patient in enumerate(("p1", "p2", "p3")):
            for what in ("train", "test"):
                chosen = [s for s, p in SAMPLES.items() if (p == patient) == (what == "test")]
                pd.DataFrame(
                    {
                        "sample_id": chosen,
                        "patches_path": [f"patches/{s}.h5" for s in chosen],
                        "expr_path": [f"adata/{s}.h5ad" for s in chosen],
                    }
                ).to_csv(folder / "splits" / f"{what}_{k}.csv", index=False)
    elif patients == "table":
        table = pd.DataFrame({"id": list(SAMPLES), "patient": list(SAMPLES.values())})
        table.to_csv(folder / "HEST_v1_1_0.csv", index=False)
    return folder


def open_task(path=None):
    return load_dataset("hest", path)


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "array"])
def test_each_patch_has_the_counts_of_its_spot(tmp_path, kind):
    dataset = open_task(save(tmp_path / "IDC", kind))
    assert dataset.name == "hest IDC"
    table = dataset.metadata
    assert table["sample"].tolist() == [s for s in sorted(SAMPLES) for _ in range(PATCHES)]
    for i, row in table.iterrows():
        sample, k = row["sample"], i % PATCHES
        spot = order(sample)[k]
        found = counts(sample)[spot]
        assert row["image"] == f"{sample}/{names(sample)[spot]}"
        for gene in LISTED:
            # 1e-12: the same formula, in another order of operations.
            assert row[f"log1p {gene}"] == pytest.approx(np.log(1 + found[int(gene[1])]), abs=1e-12)
        mean = np.mean([np.log(1 + found[int(gene[1])]) for gene in LISTED])
        assert row["expression"] == pytest.approx(mean, abs=1e-12)
        assert row["log_total"] == pytest.approx(np.log(1 + found.sum()), abs=1e-12)
        assert (row["x"], row["y"]) == (spot, 10 * spot)
        image = dataset[i]
        assert image.pixels.tolist() == pixels(sample)[k].transpose(2, 0, 1).tolist()
        assert image.pixels.flags.c_contiguous
        assert image.pixel_size == 112 / SIDE


def test_genes_that_vary_most_within_patients_are_asked_for(tmp_path):
    dataset = open_task(save(tmp_path))
    table = dataset.metadata
    variance = {}
    for gene in LISTED:
        by_patient = [g[f"log1p {gene}"].to_numpy() for _, g in table.groupby("patient")]
        variance[gene] = np.mean(np.concatenate([(v - v.mean()) ** 2 for v in by_patient]))
    wanted = sorted(LISTED, key=lambda g: -variance[g])[:5]
    assert [t.title for t in dataset.spec.design.tasks] == ["expression", *wanted]
    assert {t.kind for t in dataset.spec.design.tasks} == {"dose"}


def test_a_gene_that_differs_between_patients_only_is_not_asked_for(tmp_path):
    save(tmp_path, listed=["G0", "G1"])
    for sample, patient in SAMPLES.items():
        matrix = counts(sample).astype(np.float32)
        matrix[:, 0] = int(patient[1])
        save_counts(tmp_path, sample, matrix=matrix)
    assert [t.title for t in open_task(tmp_path).spec.design.tasks] == ["expression", "G1"]


def test_patients_from_splits_and_from_the_table(tmp_path):
    by_split = open_task(save(tmp_path / "a")).metadata
    pairs = dict(zip(by_split["sample"], by_split["patient"], strict=True))
    assert pairs == {s: f"test_{int(p[1]) - 1}" for s, p in SAMPLES.items()}
    by_table = open_task(save(tmp_path / "b", patients="table")).metadata
    assert dict(zip(by_table["sample"], by_table["patient"], strict=True)) == SAMPLES


def test_a_sample_of_an_unknown_patient_is_one_of_its_own(tmp_path):
    save(tmp_path / "task", patients="table")
    table = pd.DataFrame({"id": list(SAMPLES), "patient": ["p1", "p1", None, None]})
    (tmp_path / "task" / "HEST_v1_1_0.csv").unlink()
    table.to_csv(tmp_path / "HEST_v1_1_0.csv", index=False)  # beside the tasks
    dataset = open_task(tmp_path / "task")
    assert dataset.metadata["patient"].nunique() == 3
    assert any("patient of NCBI3 is not known" in n for n in dataset.spec.notes)


def test_patients_are_never_guessed(tmp_path):
    with pytest.raises(errors.DataError, match="the patient of sample NCBI3 is unknown"):
        open_task(save(tmp_path, patients=None))
    (tmp_path / "splits").mkdir()
    for k in (0, 1):
        pd.DataFrame({"sample_id": list(SAMPLES)}).to_csv(
            tmp_path / "splits" / f"test_{k}.csv", index=False
        )
    with pytest.raises(
        errors.DataError, match=r"TENX1 is tested in test_0\.csv and in test_1\.csv"
    ):
        open_task(tmp_path)
    pd.DataFrame({"id": ["other"], "patient": ["p"]}).to_csv(tmp_path / "HEST_a.csv", index=False)
    with pytest.raises(errors.DataError, match=r"HEST_a\.csv does not know the sample NCBI3"):
        open_task(tmp_path)
    pd.DataFrame({"id": ["other"]}).to_csv(tmp_path / "HEST_a.csv", index=False)
    with pytest.raises(errors.DataError, match=r"lacks the column\(s\) patient"):
        open_task(tmp_path)


def test_it_can_be_evaluated(tmp_path):
    """Expression planted in the pixels is found again; folds hold out patients."""
    save(tmp_path, listed=["G8"])
    for sample in SAMPLES:
        brightness = np.log1p(counts(sample)[:, 8])
        planted = np.full((PATCHES, SIDE, SIDE, 3), 20, np.uint8)
        planted += (brightness[order(sample)] * 60).astype(np.uint8)[:, None, None, None]
        save_patches(tmp_path, sample, img=planted)
    result = zoo.evaluate(
        "pixel-statistics", open_task(tmp_path), controls=["gaussian"], control_seeds=1, cache=False
    )
    row = result.rows[0]
    assert (row.task, row.metric, row.n_groups) == ("expression", "Spearman ρ", 3)
    assert row.estimates["pixel-statistics"].value > 0.9
    assert [r.task for r in result.rows] == ["expression", "expression", "G8", "G8"]


@pytest.mark.parametrize("name", ["img", "barcode", "coords"])
def test_missing_datasets_are_named(tmp_path, name):
    save(tmp_path)
    save_patches(tmp_path, "TENX1", **{name: None})
    with pytest.raises(errors.DataError, match=rf"TENX1\.h5 lacks {name}$"):
        open_task(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img": np.zeros((0, 8, 8, 3), np.uint8)}, "img of shape"),
        ({"img": np.zeros((PATCHES, 8, 8), np.uint8)}, "img of shape"),
        ({"coords": np.zeros((3, 2))}, "do not go together"),
        ({"barcode": np.array([b"a"] * PATCHES)}, "barcodes more than once"),
        ({"barcode": np.array([f"b{i}".encode() for i in range(6)])}, "lacks 6 of 6 barcodes"),
    ],
)
def test_patches_that_cannot_be_used(tmp_path, changes, message):
    save(tmp_path)
    save_patches(tmp_path, "NCBI4", **changes)
    with pytest.raises(errors.DataError, match=message):
        open_task(tmp_path)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.full((SPOTS, 9), np.nan), "NaN, infinite or below zero"),
        (np.full((SPOTS, 9), -1.0), "NaN, infinite or below zero"),
        (np.ones((SPOTS + 1, 9)), r"of shape \(9, 9\), not \(8, 9\)"),
    ],
)
@pytest.mark.parametrize("kind", ["csr_matrix", "array"])
def test_counts_that_cannot_be_used(tmp_path, matrix, message, kind):
    save(tmp_path)
    save_counts(tmp_path, "NCBI4", kind, matrix)
    with pytest.raises(errors.DataError, match=message):
        open_task(tmp_path)


def test_counts_that_are_not_whole_are_said_to_be_none(tmp_path):
    save(tmp_path)
    save_counts(tmp_path, "NCBI4", matrix=counts("NCBI4") / 3)
    assert any("1 sample(s) hold no whole counts" in n for n in open_task(tmp_path).spec.notes)


def test_genes_and_names_that_are_missing(tmp_path):
    save(tmp_path)
    save_counts(tmp_path, "NCBI4", genes=[f"H{i}" if i == 2 else f"G{i}" for i in range(9)])
    with pytest.raises(
        errors.DataError, match="lacks 1 of the 7 listed genes, the first of them G2"
    ):
        open_task(tmp_path)
    with h5py.File(tmp_path / "adata" / "NCBI4.h5ad", "w") as file:
        file["X"] = np.ones((2, 2))
    with pytest.raises(errors.DataError, match="has no names in obs"):
        open_task(tmp_path)
    (tmp_path / "adata" / "NCBI4.h5ad").write_bytes(b"nothing")
    with pytest.raises(errors.DataError, match=r"NCBI4\.h5ad is not a readable HDF5"):
        open_task(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"genes": []}', '{"genes": ["G1", "G1"]}', "{}"])
def test_lists_of_genes_that_are_none(tmp_path, text):
    save(tmp_path)
    (tmp_path / "var_50genes.json").write_text(text)
    with pytest.raises(errors.DataError, match=r"var_50genes\.json must"):
        open_task(tmp_path)


def test_missing_files_are_named(tmp_path):
    save(tmp_path / "IDC")
    with pytest.raises(errors.DataError, match="it holds the tasks IDC: give one of these"):
        open_task(tmp_path)
    with pytest.raises(errors.DataError, match="not a task of HEST"):
        open_task(tmp_path / "nowhere")
    (tmp_path / "IDC" / "var_50genes.json").rename(tmp_path / "IDC" / "genes.json")
    with pytest.raises(errors.DataError, match=r"lacks var_50genes\.json"):
        open_task(tmp_path / "IDC")
    (tmp_path / "IDC" / "adata" / "TENX1.h5ad").unlink()
    with pytest.raises(errors.DataError, match=r"lacks adata/TENX1\.h5ad, which goes with"):
        open_task(tmp_path / "IDC")
    for file in (tmp_path / "IDC" / "patches").iterdir():
        file.unlink()
    with pytest.raises(errors.DataError, match=r"has no files \*\.h5"):
        open_task(tmp_path / "IDC")


def test_without_a_folder_it_says_what_to_fetch():
    with pytest.raises(errors.DataError, match=r"gated: accept its terms.*hf download.*--data"):
        open_task()


def test_without_h5py_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(errors.MissingExtraError, match=r"microscopy-zoo\[tissue\]"):
        open_task(tmp_path)
