"""HEST: H&E patches over the spots of spatial transcriptomics, one task folder of its benchmark."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import zoo

HUB = "MahmoodLab/hest-bench"
# Micrometres: patches of the benchmark are 112 µm wide and have 224 pixels.
PATCH_SIDE = 112.0
# Questions are asked of so many genes; more would fill the report with much the same.
GENES = 5

Array = NDArray[Any]


def open_task(spec: zoo.DatasetSpec, *, path: Path | None = None) -> zoo.Dataset:
    """Open one task folder: ``patches/ID.h5``, ``adata/ID.h5ad``, a list of genes, and patients.

    The list is ``var_50genes.json`` (or another ``var_*genes.json``). Patients come from a table
    ``HEST_*.csv`` with the columns ``id`` and ``patient`` in the folder or the one above, or else
    from ``splits/test_*.csv``: samples that are tested together count as one patient. The record is
    completed with a question for each of the genes that vary most within patients.

    Raises
    ------
    DataError
        When files, datasets, barcodes or genes are missing, or patients are not known.
    MissingExtraError
        Without h5py.
    """
    if path is None:
        raise zoo.DataError(
            f"HEST is gated: accept its terms at https://huggingface.co/datasets/{HUB}, log in "
            f"with 'hf auth login', fetch one task with 'hf download {HUB} --repo-type dataset "
            "--include IDC/* --local-dir FOLDER' (IDC or another task), and give its folder, "
            "FOLDER/IDC, with --data (path=)"
        )
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise zoo.MissingExtraError(
            'HEST needs h5py: pip install "microscopy-zoo[tissue]"'
        ) from error
    samples = _samples(path)
    genes = _genes(path)
    patients, notes = _patients(path, samples)
    tables: list[pd.DataFrame] = []
    files: list[tuple[Path, int]] = []
    fractional = 0
    for sample in samples:
        file = path / "patches" / f"{sample}.h5"
        table = _patches(file, sample)
        spots = _expression(path / "adata" / f"{sample}.h5ad", genes)
        place = spots.index.get_indexer(pd.Index(table["barcode"]))
        if (place < 0).any():
            raise zoo.DataError(
                f"{path / 'adata' / sample}.h5ad lacks {int((place < 0).sum())} of {len(table)} "
                f"barcodes in {file}, the first of them {table['barcode'][place < 0].iloc[0]}"
            )
        counts = spots.iloc[place].reset_index(drop=True)
        fractional += bool((counts % 1 != 0).any(axis=None))
        logged = counts.apply(np.log1p)
        tables.append(pd.concat([table, logged], axis=1))
        files += [(file, i) for i in range(len(table))]
    table = pd.concat(tables, ignore_index=True)
    names = [_column(gene) for gene in genes]
    table.insert(2, "patient", table["sample"].map(patients))
    table.insert(3, "expression", table[names].mean(axis=1))
    if fractional:
        notes.append(
            f"{fractional} sample(s) hold no whole counts: they seem to be normalised already, and "
            "log1p is taken of what is there."
        )
    asked = _most_variable(table, names)
    notes.append(
        f"{len(genes)} genes are listed; 'expression' is the mean of their log1p, and each of the "
        f"{len(asked)} that vary most within patients is asked for."
    )
    tasks = (*spec.tasks, *(zoo.Task(kind="dose", target=name, title=name[6:]) for name in asked))
    completed = replace(spec, tasks=tasks, notes=(*spec.notes, *notes))
    return zoo.Dataset(
        f"{spec.name} {path.resolve().name}", table, lambda i: _read(*files[i]), completed
    )


def _column(gene: str) -> str:
    return f"log1p {gene}"


def _samples(folder: Path) -> list[str]:
    if not (folder / "patches").is_dir():
        tasks = sorted(p.parent.name for p in folder.glob("*/patches")) if folder.is_dir() else []
        hint = f"; it holds the tasks {', '.join(tasks)}: give one of these" if tasks else ""
        raise zoo.DataError(f"{folder} is no task of HEST: it has no folder patches{hint}")
    samples = sorted(p.stem for p in (folder / "patches").glob("*.h5"))
    if not samples:
        raise zoo.DataError(f"{folder / 'patches'} has no files *.h5")
    absent = [s for s in samples if not (folder / "adata" / f"{s}.h5ad").is_file()]
    if absent:
        raise zoo.DataError(
            f"{folder} lacks adata/{absent[0]}.h5ad, which goes with patches/{absent[0]}.h5"
            + (f", and {len(absent) - 1} more" if len(absent) > 1 else "")
        )
    return samples


def _genes(folder: Path) -> list[str]:
    found = sorted(folder.glob("var_*genes.json"))
    if not found:
        raise zoo.DataError(f"{folder} lacks var_50genes.json, which lists the genes to predict")
    if len(found) > 1:
        raise zoo.DataError(
            f"{folder} has several lists of genes ({', '.join(f.name for f in found)}): keep one"
        )
    try:
        genes = json.loads(found[0].read_text())["genes"]
    except (ValueError, TypeError, KeyError) as error:
        raise zoo.DataError(f'{found[0]} must read {{"genes": ["A", "B", …]}}') from error
    if not genes or not all(isinstance(g, str) for g in genes) or len({*genes}) < len(genes):
        raise zoo.DataError(f"{found[0]} must list names of genes, each once")
    return list(genes)


def _patients(folder: Path, samples: list[str]) -> tuple[dict[str, str], list[str]]:
    """Patient of each sample, and what must be known of it."""
    tables = [*sorted(folder.glob("HEST_*.csv")), *sorted(folder.parent.glob("HEST_*.csv"))]
    if tables:
        table = _csv(tables[0], ["id", "patient"])
        known = dict(zip(table["id"], table["patient"], strict=True))
        strangers = [s for s in samples if s not in known]
        if strangers:
            raise zoo.DataError(f"{tables[0]} does not know the sample {strangers[0]}")
        alone = [s for s in samples if pd.isna(known[s])]
        notes = [f"The patient of {s} is not known: it counts as one of its own." for s in alone]
        return {s: s if s in alone else known[s] for s in samples}, notes
    patients: dict[str, str] = {}
    for file in sorted((folder / "splits").glob("test_*.csv")):
        for sample in _csv(file, ["sample_id"])["sample_id"]:
            if patients.setdefault(sample, file.stem) != file.stem:
                raise zoo.DataError(
                    f"{sample} is tested in {patients[sample]}.csv and in {file.name}, so the "
                    "splits do not tell patients apart: add HEST's own table HEST_*.csv"
                )
    absent = [s for s in samples if s not in patients]
    if absent:
        raise zoo.DataError(
            f"whose sample {absent[0]} is cannot be told: {folder} has neither a table HEST_*.csv "
            "(columns id and patient) nor splits/test_*.csv that name it, and samples of a patient "
            "must not be split"
        )
    note = "Patients are told by the splits: samples that are tested together count as one."
    return patients, [note]


def _csv(file: Path, columns: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise zoo.DataError(f"{file} is no readable table ({error})") from error
    lacking = [c for c in columns if c not in table.columns]
    if lacking:
        raise zoo.DataError(f"{file} lacks the column(s) {', '.join(lacking)}")
    return table


def _open(file: Path) -> Any:
    import h5py

    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise zoo.DataError(f"{file} is no readable HDF5 file ({error})") from error


def _patches(file: Path, sample: str) -> pd.DataFrame:
    with _open(file) as content:
        lacking = [name for name in ("img", "barcode", "coords") if name not in content]
        if lacking:
            raise zoo.DataError(f"{file} lacks {', '.join(lacking)}")
        shape, count = content["img"].shape, content["img"].shape[0]
        if len(shape) != 4 or shape[3] != 3 or count == 0:
            raise zoo.DataError(f"{file} has img of shape {shape} instead of (n, side, side, 3)")
        barcodes = _words(content["barcode"])
        coords = np.asarray(content["coords"])
    if len(barcodes) != count or coords.shape != (count, 2):
        raise zoo.DataError(
            f"{file} has {count} images, {len(barcodes)} barcodes and coords of shape "
            f"{coords.shape}, which do not go together"
        )
    if len(set(barcodes)) < count:
        raise zoo.DataError(f"{file} has barcodes more than once")
    return pd.DataFrame(
        {
            "image": [f"{sample}/{barcode}" for barcode in barcodes],
            "sample": sample,
            "barcode": barcodes,
            "x": coords[:, 0],
            "y": coords[:, 1],
        }
    )


def _values(node: Any) -> Any:
    """Return an array of names, which anndata may have put into a group with its gaps."""
    return node["values"] if hasattr(node, "keys") and "values" in node else node


def _words(dataset: Any) -> list[str]:
    values = np.asarray(dataset).reshape(-1)
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]


def _expression(file: Path, genes: list[str]) -> pd.DataFrame:
    """Counts of some genes and of all, by barcode, under the names that their log1p will have."""
    with _open(file) as content:
        names = {}
        for axis in ("obs", "var"):
            group = content.get(axis)
            index = group.attrs.get("_index") if group is not None else None
            if index is None or index not in group:
                raise zoo.DataError(f"{file} has no names in {axis}: is it written by anndata?")
            names[axis] = _words(_values(group[index]))
        absent = [g for g in genes if g not in set(names["var"])]
        if absent:
            raise zoo.DataError(
                f"{file} lacks {len(absent)} of the {len(genes)} listed genes, the first of them "
                f"{absent[0]}"
            )
        place = {name: i for i, name in reversed(list(enumerate(names["var"])))}
        wanted = np.array([place[g] for g in genes])
        if "X" not in content:
            raise zoo.DataError(f"{file} has no matrix X")
        counts, totals = _counts(content["X"], wanted, len(names["obs"]), len(names["var"]), file)
    if not (np.isfinite(counts).all() and np.isfinite(totals).all()) or (counts < 0).any():
        raise zoo.DataError(f"{file} has counts that are NaN, infinite or below zero")
    table = pd.DataFrame(counts, columns=[_column(g) for g in genes], index=names["obs"])
    table.insert(0, "log_total", totals)
    if table.index.duplicated().any():
        raise zoo.DataError(
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
        raise zoo.DataError(f"{file} has X as {kind} of shape {shape}, not ({spots}, {genes})")
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


def _most_variable(table: pd.DataFrame, names: list[str]) -> list[str]:
    """Genes by their variance within patients, largest first; constant ones cannot be asked for."""
    within = table[names] - table.groupby("patient")[names].transform("mean")
    variance = (within**2).mean().sort_values(ascending=False, kind="stable")
    return [str(name) for name in variance.index[variance > 0][:GENES]]


def _read(file: Path, i: int) -> zoo.Image:
    with _open(file) as content:
        pixels = content["img"][i]
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    return zoo.Image(planes, pixel_size=PATCH_SIDE / planes.shape[-1])
