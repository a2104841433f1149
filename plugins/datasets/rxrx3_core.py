"""RxRx3-core: published profiles of gene knockouts and compounds in HUVEC cells.

Only the embeddings that come with the set are read, not its images.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import zoo
from zoo import plugin

from .record_parts import SAMPLE, retrieval
from .subset import askable

if TYPE_CHECKING:
    import pandas as pd

HUB = "recursionpharma/rxrx3-core"
METADATA = "metadata_rxrx3_core.csv"
EMBEDDINGS = "OpenPhenom_rxrx3_core_embeddings.parquet"
COLUMNS = (
    "well_id",
    "experiment_name",
    "plate",
    "address",
    "gene",
    "treatment",
    "SMILES",
    "concentration",
    "perturbation_type",
    "cell_type",
)
_ADDRESS = re.compile(r"([A-Z]{1,2})(\d{1,2})")

_CRISPR = {"perturbation_type": ("CRISPR",), **SAMPLE}
_COMPOUND = {"perturbation_type": ("COMPOUND",), "top_concentration": ("yes",), **SAMPLE}

SPEC = plugin.DatasetSpec(
    name="rxrx3-core",
    builder="zoo.plugins.datasets.rxrx3_core:open_profiles",
    summary="Embeddings of HUVEC wells, gene knockouts and compounds; give them with --data",
    design=plugin.Design(
        label="gene_or_compound",
        batch="experiment_plate",
        group="experiment_name",
        tasks=(
            retrieval("perturbation", "guides", _CRISPR),
            retrieval("gene_or_compound", "genes", _CRISPR),
            retrieval("perturbation", "compounds", _COMPOUND),
        ),
        perturbation="perturbation",
        negative={"treatment": ("EMPTY_control",)},
        position="address",
        confounders=("row", "column"),
    ),
    channels=(6, 6),
    notes=(
        "Only the published embeddings are read, so noise is the only control here: a score above "
        "it may still be below cell counts or pixel statistics.",
        "Compounds are evaluated at their highest concentration.",
    ),
    licence="see the dataset card, https://huggingface.co/datasets/recursionpharma/rxrx3-core",
    citation=(
        "Kraus et al., RxRx3-core: Benchmarking drug-target interactions in high-content "
        "microscopy, arXiv 2503.20158, 2025"
    ),
)


def open_profiles(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open the table and the embeddings of a folder with the two files of the hub.

    Items are in the order of the embeddings, which are read when they are needed. Where few
    perturbations occur in several experiments, the plate becomes the independent unit, and a note
    says so.

    Raises
    ------
    DataError
        When a file or a column is missing, or the two files do not belong together.
    MissingExtraError
        Without pyarrow.
    """
    folder = path if path is not None else plugin.cache_folder() / "datasets" / "rxrx3-core"
    files = [folder / name for name in (METADATA, EMBEDDINGS)]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise plugin.DataError(
            f"{folder} lacks {' and '.join(absent)}: read the terms at "
            f"https://huggingface.co/datasets/{HUB}, fetch both files with 'hf download {HUB} "
            f"--repo-type dataset --include {METADATA} {EMBEDDINGS} --local-dir FOLDER', and give "
            "that folder with --data (path=)"
        )
    wells = _wells(files[1])
    table, notes = _join(_metadata(files[0]), wells, files[1])
    spec = _with_group(replace(spec, notes=(*spec.notes, *notes)), table)
    openphenom = plugin.Precomputed(
        "OpenPhenom embeddings, as published with RxRx3-core",
        lambda: zoo.read_profiles(files[1], prefix="feature").matrix,
    )
    return plugin.Dataset(spec.name, table, None, askable(spec, table), {"openphenom": openphenom})


def _wells(file: Path) -> pd.Series:
    """Identifiers in the order of the embeddings."""
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise plugin.MissingExtraError(
            'Parquet needs pyarrow: pip install "microscopy-zoo[parquet]"'
        ) from error
    try:
        names = pq.read_schema(file).names
        if "well_id" not in names:
            raise plugin.DataError(f"{file} has no column well_id")
        wells = pq.read_table(file, columns=["well_id"]).column("well_id").to_pandas()
    except (OSError, ValueError) as error:
        raise plugin.DataError(f"{file} is not a readable Parquet file ({error})") from error
    if wells.duplicated().any():
        raise plugin.DataError(f"{file} has the well {wells[wells.duplicated()].iloc[0]} twice")
    return wells


def _metadata(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        # Only an empty cell is missing: NA may be a gene.
        table = pd.read_csv(file, keep_default_na=False, na_values=["", "nan"], low_memory=False)
    except (OSError, ValueError) as error:
        raise plugin.DataError(f"{file} is not a readable table ({error})") from error
    lacking = [c for c in COLUMNS if c not in table.columns]
    if lacking:
        raise plugin.DataError(f"{file} lacks the column(s) {', '.join(lacking)}")
    if table["well_id"].duplicated().any():
        twice = table["well_id"][table["well_id"].duplicated()].iloc[0]
        raise plugin.DataError(f"{file} has the well {twice} twice")
    return table


def _join(metadata: pd.DataFrame, wells: pd.Series, file: Path) -> tuple[pd.DataFrame, list[str]]:
    """Sort the table in the order of the embeddings, and describe each well."""
    import numpy as np
    import pandas as pd

    place = pd.Index(metadata["well_id"]).get_indexer(wells)
    if (place < 0).any():
        raise plugin.DataError(
            f"{METADATA} does not know {int((place < 0).sum())} of {len(wells)} wells in {file}, "
            f"the first of them {wells[place < 0].iloc[0]}"
        )
    table = metadata.iloc[place].reset_index(drop=True)
    notes = []
    if (rest := len(metadata) - len(table)) > 0:
        notes.append(f"{rest} well(s) of {METADATA} have no embedding and are left out.")

    parts = table["address"].astype(str).str.extract(f"^{_ADDRESS.pattern}$")
    if parts.isna().any(axis=None):
        wrong = table["address"][parts[0].isna()].iloc[0]
        raise plugin.DataError(
            f"{METADATA} has the address {wrong!r}, which is not a row and a column"
        )
    letters = parts[0].map(lambda row: sum(26**i * (ord(c) - 64) for i, c in enumerate(row[::-1])))
    compound = table["perturbation_type"] == "COMPOUND"
    is_control = table["treatment"].astype(str).str.endswith("_control")
    empty = table["treatment"] == "EMPTY_control"
    dose = table["concentration"].map("{:g}".format, na_action="ignore")
    highest = table.groupby("treatment")["concentration"].transform("max")
    return table.assign(
        experiment_plate=table["experiment_name"].astype(str) + "/" + table["plate"].astype(str),
        row=letters.astype(int),
        column=parts[1].astype(int),
        control=np.select([empty, is_control], ["negative", "other control"], "sample"),
        gene_or_compound=table["gene"].where(~compound & ~is_control, table["treatment"]),
        perturbation=table["treatment"].where(
            ~compound | is_control | dose.isna(), table["treatment"] + " at " + dose.astype(str)
        ),
        top_concentration=np.where(compound & (table["concentration"] == highest), "yes", "no"),
    ), notes


def _with_group(spec: plugin.DatasetSpec, table: pd.DataFrame) -> plugin.DatasetSpec:
    """Use plates as independent units if experiments share hardly any replicates."""
    samples = table[table["control"] == "sample"]
    repeated = samples.groupby("perturbation")[spec.design.group].nunique() > 1
    if repeated.mean() >= 0.5 or not len(repeated):
        return spec
    note = (
        f"Only {int(repeated.sum())} of {len(repeated)} perturbations occur in more than one "
        "experiment, so plates, not experiments, are the independent units: effects that the "
        "plates of an experiment share can raise scores."
    )
    design = replace(spec.design, group="experiment_plate")
    return replace(spec, design=design, notes=(*spec.notes, note))
