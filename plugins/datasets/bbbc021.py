"""BBBC021: MCF-7 cells under 38 compounds, of which twelve mechanisms of action are annotated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import plugin

from .archive import open_folder, read_channels, read_table
from .record_parts import LJOSA, SAMPLE, classify
from .subset import askable

if TYPE_CHECKING:
    import pandas as pd

PAGE = "https://bbbc.broadinstitute.org/BBBC021"
IMAGES, MECHANISMS, COMPOUNDS = (f"BBBC021_v1_{t}.csv" for t in ("image", "moa", "compound"))
CHANNELS = ("DAPI", "Tubulin", "Actin")
STAINS = ("DNA", "tubulin", "actin")
NEGATIVE = "DMSO"

_IMAGE_COLUMNS = (
    *(f"Image_{kind}_{channel}" for channel in CHANNELS for kind in ("FileName", "PathName")),
    "Image_Metadata_Plate_DAPI",
    "Image_Metadata_Well_DAPI",
    "Image_Metadata_Compound",
    "Image_Metadata_Concentration",
)

SPEC = plugin.DatasetSpec(
    name="bbbc021",
    builder="zoo.plugins.datasets.bbbc021:open_fields",
    summary="MCF-7 cells, 38 compounds, twelve mechanisms, 3 channels; give plates with --data",
    design=plugin.Design(
        label="moa",
        batch="plate",
        group="compound",
        tasks=(
            *classify("moa", "mechanism", SAMPLE),
            plugin.Task(kind="retrieval", target="moa", title="mechanism", where=SAMPLE),
        ),
        perturbation="treatment",
        negative={"control": ("negative",)},
        position="well",
        domains=("week",),
        confounders=("row", "column"),
    ),
    channels=(3, 3),
    notes=(
        "Compounds are the independent units: a mechanism is always recognised from other "
        "compounds (not the same compound), and mechanisms with a single compound are left out.",
        "Many mechanisms were imaged in few weeks, with their compounds side by side: week and "
        "mechanism are confounded, and leave-one-week-out shows by how much.",
        "Only some concentrations have an annotated mechanism; the others are not used in tasks on "
        "mechanisms.",
        "Items are fields, several to a well. The usual benchmark averages them over wells and "
        "replicates to treatments, so its accuracies are not comparable.",
        "Mechanisms were annotated partly by eye from these images, and some change the number "
        "of cells strongly: compare with object density.",
    ),
    licence="see https://bbbc.broadinstitute.org/BBBC021",
    citation=("Image set BBBC021v1 (Caie et al., Molecular Cancer Therapeutics, 2010), " + LJOSA),
)


def open_fields(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open the fields of all plates that are there; each has a file for each of three channels.

    A folder holds the official tables `IMAGES` and `MECHANISMS` (and `COMPOUNDS`, for structures)
    and, at any depth, the folders of plates as the archives unpack, such as ``Week1_22123``.
    Compounds without an annotated mechanism are kept, without a ``moa``; so are fields whose row
    names no compound.

    Raises
    ------
    DataError
        When tables, columns, all plates, or files of a plate are missing.
    """
    import pandas as pd

    if path is None:
        raise plugin.DataError(
            f"bbbc021 is too large to download automatically: from {PAGE}, fetch {IMAGES}, "
            f"{MECHANISMS} and the archives of the plates that you want, unpack all into one "
            "folder (tables at its top, a folder such as Week1_22123 for each plate), and give "
            "that folder with --data (path=)"
        )
    folder = open_folder(path)
    table = read_table(folder / IMAGES, _IMAGE_COLUMNS, numbers=_IMAGE_COLUMNS[-1:])
    plates = _find_plates(folder)
    rows, files = [], []
    for _, row in table.iterrows():
        # "Week1/Week1_22123"; leading parts of the path differ between users.
        names = [_last_part(row[f"Image_PathName_{c}"]) for c in CHANNELS]
        if names[0] not in plates:
            continue
        rows.append(_describe(row, names[0]))
        parts = zip(names, CHANNELS, strict=True)
        files.append([(name, str(row[f"Image_FileName_{c}"])) for name, c in parts])
    if not rows:
        raise plugin.DataError(
            f"{folder} has images of no plate in {IMAGES}: neither in a folder "
            f"{_last_part(table['Image_PathName_DAPI'].iloc[0])} nor in any of the others"
        )
    there = {name: {p.name for p in plate.iterdir()} for name, plate in plates.items()}
    places = [[plates.get(name, folder / name) / file for name, file in field] for field in files]
    missing = [
        place
        for field, wanted in zip(places, files, strict=True)
        for place, (name, file) in zip(field, wanted, strict=True)
        if file not in there.get(name, ())
    ]
    if missing:
        raise plugin.DataError(
            f"{len(missing)} files are missing from the plates that are there, the first of them "
            f"{missing[0]}: unpack the archive of its plate again"
        )
    metadata = _annotate(pd.DataFrame(rows), folder)
    spec = askable(spec, metadata)
    return plugin.Dataset(
        spec.name,
        metadata,
        plugin.thread_safe(lambda i: read_channels(places[i], STAINS, "field")),
        spec,
    )


def _find_plates(folder: Path) -> dict[str, Path]:
    """Folders that hold images, by name."""
    plates: dict[str, Path] = {}
    for place, _, files in os.walk(folder):
        here = Path(place)
        if "__MACOSX" in here.parts or not any(
            f.lower().endswith((".tif", ".tiff")) for f in files
        ):
            continue
        if here.name in plates:
            raise plugin.DataError(f"{plates[here.name]} and {here} are the same plate: keep one")
        plates[here.name] = here
    return plates


def _last_part(place: object) -> str:
    return str(place).replace("\\", "/").rstrip("/").rpartition("/")[2]


def _describe(row: pd.Series[Any], folder: str) -> dict[str, Any]:
    import pandas as pd

    compound, dose = row["Image_Metadata_Compound"], row["Image_Metadata_Concentration"]
    well = str(row["Image_Metadata_Well_DAPI"]).strip()
    known = not pd.isna(compound)
    negative = str(compound).upper() == NEGATIVE
    treatment = NEGATIVE if negative else f"{compound} {dose:g}"
    return {
        "image": row["Image_FileName_DAPI"],
        "week": folder.partition("_")[0],
        "plate": str(row["Image_Metadata_Plate_DAPI"]),
        "well": well,
        "row": well[:1],
        "column": int(well[1:]) if well[1:].isdigit() else None,
        "compound": compound if known else None,
        "concentration": dose,
        "treatment": treatment if known and (negative or not pd.isna(dose)) else None,
        "control": ("negative" if negative else "sample") if known else None,
    }


def _annotate(metadata: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add the mechanism of each compound and concentration, and structures where they are given."""
    columns = ["compound", "concentration", "moa"]
    known = read_table(folder / MECHANISMS, columns, numbers=["concentration"])[columns].dropna()
    # Both tables write concentrations as decimal numbers, of which few need six places.
    keys = zip(known["compound"].map(str), known["concentration"].round(6), strict=True)
    mechanisms: dict[tuple[str, float], Any] = {}
    for key, moa in zip(keys, known["moa"], strict=True):
        if mechanisms.setdefault(key, moa) != moa:
            raise plugin.DataError(
                f"{folder / MECHANISMS} gives {key[0]} at {key[1]:g} two mechanisms: "
                f"{mechanisms[key]} and {moa}"
            )
    items = zip(metadata["compound"], metadata["concentration"].round(6), strict=True)
    metadata["moa"] = [mechanisms.get(item) for item in items]
    metadata.loc[metadata["control"] == "negative", "moa"] = None
    if (folder / COMPOUNDS).is_file():
        structures = read_table(folder / COMPOUNDS, ["compound", "smiles"])
        smiles = dict(zip(structures["compound"].map(str), structures["smiles"], strict=True))
        metadata["smiles"] = metadata["compound"].map(smiles)
    return metadata
