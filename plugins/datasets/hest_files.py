"""The files of one task of HEST: samples, genes, patients, patches, and expression by spot."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo import plugin

Array = NDArray[Any]

COLOURS = ("red", "green", "blue")
PATCH_SIDE = 112.0  # µm; patches of the benchmark have 224 pixels


def samples_of(folder: Path) -> list[str]:
    """Names of the samples, each with patches and expression."""
    if not (folder / "patches").is_dir():
        tasks = sorted(p.parent.name for p in folder.glob("*/patches")) if folder.is_dir() else []
        hint = f"; it holds the tasks {', '.join(tasks)}: give one of these" if tasks else ""
        raise plugin.DataError(f"{folder} is not a task of HEST: it has no folder patches{hint}")
    samples = sorted(p.stem for p in (folder / "patches").glob("*.h5"))
    if not samples:
        raise plugin.DataError(f"{folder / 'patches'} has no files *.h5")
    absent = [s for s in samples if not (folder / "adata" / f"{s}.h5ad").is_file()]
    if absent:
        raise plugin.DataError(
            f"{folder} lacks adata/{absent[0]}.h5ad, which goes with patches/{absent[0]}.h5"
            + (f", and {len(absent) - 1} more" if len(absent) > 1 else "")
        )
    return samples


def genes_of(folder: Path) -> list[str]:
    """Names of the genes to predict."""
    found = sorted(folder.glob("var_*genes.json"))
    if not found:
        raise plugin.DataError(f"{folder} lacks var_50genes.json, which lists the genes to predict")
    if len(found) > 1:
        raise plugin.DataError(
            f"{folder} has several lists of genes ({', '.join(f.name for f in found)}): keep one"
        )
    try:
        genes = json.loads(found[0].read_text())["genes"]
    except (ValueError, TypeError, KeyError) as error:
        raise plugin.DataError(f'{found[0]} must read {{"genes": ["A", "B", …]}}') from error
    if not genes or not all(isinstance(g, str) for g in genes) or len({*genes}) < len(genes):
        raise plugin.DataError(f"{found[0]} must list names of genes, each once")
    return list(genes)


def patients_of(folder: Path, samples: list[str]) -> tuple[dict[str, str], list[str]]:
    """Patient of each sample, and notes on how it was determined."""
    tables = [*sorted(folder.glob("HEST_*.csv")), *sorted(folder.parent.glob("HEST_*.csv"))]
    if tables:
        table = _csv(tables[0], ["id", "patient"])
        known = dict(zip(table["id"], table["patient"], strict=True))
        unknown = [s for s in samples if s not in known]
        if unknown:
            raise plugin.DataError(f"{tables[0]} does not know the sample {unknown[0]}")
        alone = [s for s in samples if pd.isna(known[s])]
        notes = [
            f"The patient of {s} is not known: the sample counts as a patient of its own."
            for s in alone
        ]
        return {s: s if s in alone else known[s] for s in samples}, notes
    patients: dict[str, str] = {}
    for file in sorted((folder / "splits").glob("test_*.csv")):
        for sample in _csv(file, ["sample_id"])["sample_id"]:
            if patients.setdefault(sample, file.stem) != file.stem:
                raise plugin.DataError(
                    f"{sample} is tested in {patients[sample]}.csv and in {file.name}, so the "
                    "splits do not identify patients: add HEST's own table HEST_*.csv"
                )
    absent = [s for s in samples if s not in patients]
    if absent:
        raise plugin.DataError(
            f"the patient of sample {absent[0]} is unknown: {folder} has neither a table "
            "HEST_*.csv (columns id and patient) nor splits/test_*.csv that name it, and samples "
            "of a patient must not be split"
        )
    note = "Patients are inferred from the splits: samples tested together count as one patient."
    return patients, [note]


def patches_of(file: Path, sample: str) -> pd.DataFrame:
    """Name, barcode and place of each patch of a sample."""
    with _open(file) as content:
        lacking = [name for name in ("img", "barcode", "coords") if name not in content]
        if lacking:
            raise plugin.DataError(f"{file} lacks {', '.join(lacking)}")
        shape, count = content["img"].shape, content["img"].shape[0]
        if len(shape) != 4 or shape[3] != 3 or count == 0:
            raise plugin.DataError(f"{file} has img of shape {shape} instead of (n, side, side, 3)")
        barcodes = _words(content["barcode"])
        coords = np.asarray(content["coords"])
    if len(barcodes) != count or coords.shape != (count, 2):
        raise plugin.DataError(
            f"{file} has {count} images, {len(barcodes)} barcodes and coords of shape "
            f"{coords.shape}, which do not go together"
        )
    if len(set(barcodes)) < count:
        raise plugin.DataError(f"{file} has barcodes more than once")
    return pd.DataFrame(
        {
            "image": [f"{sample}/{barcode}" for barcode in barcodes],
            "sample": sample,
            "barcode": barcodes,
            "x": coords[:, 0],
            "y": coords[:, 1],
        }
    )


def expression_of(file: Path, genes: list[str]) -> pd.DataFrame:
    """Counts of some genes and of all, by barcode, under the names that their log1p will have."""
    with _open(file) as content:
        names = {}
        for axis in ("obs", "var"):
            group = content.get(axis)
            index = group.attrs.get("_index") if group is not None else None
            if index is None or index not in group:
                raise plugin.DataError(f"{file} has no names in {axis}: is it written by anndata?")
            names[axis] = _words(_values(group[index]))
        absent = [g for g in genes if g not in set(names["var"])]
        if absent:
            raise plugin.DataError(
                f"{file} lacks {len(absent)} of the {len(genes)} listed genes, the first of them "
                f"{absent[0]}"
            )
        place = {name: i for i, name in reversed(list(enumerate(names["var"])))}
        wanted = np.array([place[g] for g in genes])
        if "X" not in content:
            raise plugin.DataError(f"{file} has no matrix X")
        counts, totals = _counts(content["X"], wanted, len(names["obs"]), len(names["var"]), file)
    if not (np.isfinite(counts).all() and np.isfinite(totals).all()) or (counts < 0).any():
        raise plugin.DataError(f"{file} has counts that are NaN, infinite or below zero")
    table = pd.DataFrame(counts, columns=[column_of(g) for g in genes], index=names["obs"])
    table.insert(0, "log_total", totals)
    if table.index.duplicated().any():
        raise plugin.DataError(
            f"{file} has the barcode {table.index[table.index.duplicated()][0]} twice"
        )
    return table


def _counts(x: Any, wanted: Array, spots: int, genes: int, file: Path) -> tuple[Array, Array]:
    """Columns `wanted` of a dense or sparse matrix, `(spots, len(wanted))`, and sums of rows."""
    from scipy.sparse import csc_array, csr_array

    kind = str(x.attrs.get("encoding-type", "array"))
    shape = (
        tuple(map(int, x.attrs["shape"])) if kind.startswith("cs") and "shape" in x.attrs else None
    )
    shape = getattr(x, "shape", shape)
    if kind not in ("array", "csr_matrix", "csc_matrix") or shape != (spots, genes):
        raise plugin.DataError(f"{file} has X as {kind} of shape {shape}, not ({spots}, {genes})")
    if kind == "array":
        parts, totals = [], []
        for top in range(0, spots, 1024):
            rows = np.asarray(x[top : top + 1024], dtype=float)
            parts.append(rows[:, wanted])
            totals.append(rows.sum(1))
        return np.concatenate(parts), np.concatenate(totals)
    make = csr_array if kind == "csr_matrix" else csc_array
    matrix = make((x["data"][:], x["indices"][:], x["indptr"][:]), shape=shape)
    chosen = matrix[:, wanted].toarray().astype(float)
    return chosen, np.asarray(matrix.sum(axis=1), dtype=float).reshape(-1)


def read_patch(file: Path, i: int) -> plugin.Image:
    """Read one patch of a file."""
    with _open(file) as content:
        pixels = content["img"][i]
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    return plugin.Image(planes, COLOURS, PATCH_SIDE / planes.shape[-1])


def column_of(gene: str) -> str:
    """Name of the column that holds the log1p of a gene's counts."""
    return f"log1p {gene}"


def _csv(file: Path, columns: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise plugin.DataError(f"{file} is not a readable table ({error})") from error
    lacking = [c for c in columns if c not in table.columns]
    if lacking:
        raise plugin.DataError(f"{file} lacks the column(s) {', '.join(lacking)}")
    return table


def _open(file: Path) -> Any:
    import h5py

    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise plugin.DataError(f"{file} is not a readable HDF5 file ({error})") from error


def _values(node: Any) -> Any:
    """Return an array of names, which anndata may store in a group together with a mask."""
    return node["values"] if hasattr(node, "keys") and "values" in node else node


def _words(dataset: Any) -> list[str]:
    values = np.asarray(dataset).reshape(-1)
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
