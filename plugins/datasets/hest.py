"""HEST: H&E patches over the spots of spatial transcriptomics, one task folder of its benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import plugin

if TYPE_CHECKING:
    import pandas as pd

HUB = "MahmoodLab/hest-bench"
# Genes with a task of their own; more would add rows to the report, but little information.
GENES = 5

SPEC = plugin.DatasetSpec(
    name="hest",
    builder="zoo.plugins.datasets.hest:open_task",
    summary="H&E patches with gene expression by spot; gated: give a task with --data",
    design=plugin.Design(
        label="expression",
        batch="sample",
        group="patient",
        tasks=(plugin.Task(kind="dose", target="expression", title="expression"),),
        confounders=("log_total",),
    ),
    channels=(3, 3),
    notes=(
        "Folds hold out patients. A task has few patients, so intervals are wide.",
        "Expression is log1p of counts as they are stored: it rises with all the RNA of a "
        "spot, and so with the density of cells; log_total is the confounder to look at.",
        "Neighbouring patches are similar, so the number of patches overstates the evidence.",
    ),
    licence="CC BY-NC-SA 4.0, gated on the hub",
    citation=(
        "Jaume et al., HEST-1k: A dataset for spatial transcriptomics and histology image "
        "analysis, NeurIPS Datasets and Benchmarks 2024"
    ),
)


def open_task(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open one task folder: ``patches/ID.h5``, ``adata/ID.h5ad``, a list of genes, and patients.

    The list is ``var_50genes.json`` (or another ``var_*genes.json``). Patients come from a table
    ``HEST_*.csv`` with the columns ``id`` and ``patient`` in the folder or the one above, or else
    from ``splits/test_*.csv``: samples that are tested together count as one patient. The record is
    completed with a task for each of the genes that vary most within patients.

    Raises
    ------
    DataError
        When files, datasets, barcodes or genes are missing, or patients are not known.
    MissingExtraError
        Without h5py.
    """
    if path is None:
        raise plugin.DataError(
            f"HEST is gated: accept its terms at https://huggingface.co/datasets/{HUB}, log in "
            f"with 'hf auth login', fetch one task with 'hf download {HUB} --repo-type dataset "
            "--include IDC/* --local-dir FOLDER' (IDC or another task), and give its folder, "
            "FOLDER/IDC, with --data (path=)"
        )
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise plugin.MissingExtraError(
            'HEST needs h5py: pip install "microscopy-zoo[tissue]"'
        ) from error
    import numpy as np
    import pandas as pd

    from .hest_files import (
        column_of,
        expression_of,
        genes_of,
        patches_of,
        patients_of,
        read_patch,
        samples_of,
    )

    samples = samples_of(path)
    genes = genes_of(path)
    patients, notes = patients_of(path, samples)
    tables: list[pd.DataFrame] = []
    files: list[tuple[Path, int]] = []
    fractional = 0
    for sample in samples:
        file = path / "patches" / f"{sample}.h5"
        table = patches_of(file, sample)
        spots = expression_of(path / "adata" / f"{sample}.h5ad", genes)
        place = spots.index.get_indexer(pd.Index(table["barcode"]))
        if (place < 0).any():
            raise plugin.DataError(
                f"{path / 'adata' / sample}.h5ad lacks {int((place < 0).sum())} of {len(table)} "
                f"barcodes in {file}, the first of them {table['barcode'][place < 0].iloc[0]}"
            )
        counts = spots.iloc[place].reset_index(drop=True)
        fractional += bool((counts % 1 != 0).any(axis=None))
        logged = counts.apply(np.log1p)
        tables.append(pd.concat([table, logged], axis=1))
        files += [(file, i) for i in range(len(table))]
    table = pd.concat(tables, ignore_index=True)
    names = [column_of(gene) for gene in genes]
    table.insert(2, "patient", table["sample"].map(patients))
    table.insert(3, "expression", table[names].mean(axis=1))
    if fractional:
        notes.append(
            f"{fractional} sample(s) hold no whole counts: they seem to be normalised already; "
            "log1p is applied to them as they are."
        )
    asked = _most_variable(table, names)
    notes.append(
        f"{len(genes)} genes are listed; 'expression' is the mean of their log1p, and each of the "
        f"{len(asked)} that vary most within patients has a task of its own."
    )
    tasks = (
        *spec.design.tasks,
        *(plugin.Task(kind="dose", target=name, title=name[6:]) for name in asked),
    )
    design = replace(spec.design, tasks=tasks)
    completed = replace(spec, design=design, notes=(*spec.notes, *notes))
    return plugin.Dataset(
        f"{spec.name} {path.resolve().name}",
        table,
        plugin.thread_safe(lambda i: read_patch(*files[i])),
        completed,
    )


def _most_variable(table: pd.DataFrame, names: list[str]) -> list[str]:
    """Genes by their variance within patients, largest first; without constant ones."""
    within = table[names] - table.groupby("patient")[names].transform("mean")
    variance = (within**2).mean().sort_values(ascending=False, kind="stable")
    return [str(name) for name in variance.index[variance > 0][:GENES]]
