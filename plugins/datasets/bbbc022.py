"""BBBC022: U2OS cells under 1600 compounds, stained with Cell Painting, on 20 plates."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import plugin

from .archive import open_folder, read_channels, read_table
from .record_parts import LJOSA, SAMPLE

if TYPE_CHECKING:
    import pandas as pd

PAGE = "https://bbbc.broadinstitute.org/BBBC022"
TABLE = "BBBC022_v1_image.csv"
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")  # w1 … w5
# Accepted names of the columns of the table, the official name first.
COLUMNS = {
    "plate": ("Image_Metadata_PlateID", "Image_Metadata_Plate", "Metadata_Plate", "plate"),
    "well": ("Image_Metadata_CPD_WELL_POSITION", "Image_Metadata_Well", "Metadata_Well", "well"),
    "role": ("Image_Metadata_ASSAY_WELL_ROLE", "Metadata_ASSAY_WELL_ROLE", "role"),
    "compound": (
        "Image_Metadata_BROAD_ID",
        "Image_Metadata_SOURCE_COMPOUND_NAME",
        "Metadata_broad_sample",
        "compound",
    ),
}
NEGATIVE = ("mock", "dmso", "negative")

_FILE = re.compile(r"[^.].*_([A-P])(\d{2})_s(\d+)_w([1-5])(?!_thumb).*\.tiff?", re.IGNORECASE)
_PLATE = re.compile(r"(?<!\d)(\d{5})(?!\d)")

Field = tuple[str, str, int]  # plate, well, site

SPEC = plugin.DatasetSpec(
    name="bbbc022",
    builder="zoo.plugins.datasets.bbbc022:open_fields",
    summary="U2OS cells, Cell Painting, 1600 compounds, 5 channels; give plates with --data",
    design=plugin.Design(
        label="compound",
        batch="plate",
        group="plate",
        tasks=(
            plugin.Task(kind="retrieval", target="compound", title="replicates", where=SAMPLE),
            plugin.Task(kind="separation", target="control", title="treated or not"),
        ),
        perturbation="compound",
        negative={"control": ("negative",)},
        position="well",
        confounders=("row", "column"),
    ),
    channels=(5, 5),
    notes=(
        "Replicates are retrieved from other plates only.",
        "A compound in the same well on every plate is confounded with its position: retrieval "
        "that excludes the same position shows how much of the score is due to it.",
        "Most compounds hardly change the cells, so retrieval is low for every encoder, and only "
        "active compounds contribute to 'treated or not'.",
        "Untreated wells have fixed places on the plate; an encoder may recognise the position.",
    ),
    licence="see https://bbbc.broadinstitute.org/BBBC022",
    citation="Image set BBBC022v1 (Gustafsdottir et al., PLOS ONE, 2013), " + LJOSA,
)


def open_fields(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open the fields of all plates that are there; each has a file for each of five channels.

    A folder holds the official table `TABLE` (or one by that name with the columns plate, well,
    role and compound) and, at any depth, the files of images, such as
    ``BBBC022_v1_images_20585w1/IXMtest_A01_s1_w1….tif``: a folder above each names the plate.

    Raises
    ------
    DataError
        When the table, a column, all images, a channel or the compound of a well are missing.
    """
    import pandas as pd

    if path is None:
        raise plugin.DataError(
            f"bbbc022 is too large to download automatically: from {PAGE}, fetch {TABLE} and, for "
            "the plates that you want, the archives of all five channels (such as "
            "BBBC022_v1_images_20585w1.zip … w5.zip), unpack each into a folder of that name "
            "beside the table, and give the folder that holds all with --data (path=)"
        )
    folder = open_folder(path)
    wells = _read_wells(folder / TABLE)
    fields = _find(folder)
    order = sorted(fields)
    strange = [field for field in order if field[:2] not in wells.index]
    if strange:
        raise plugin.DataError(
            f"{folder / TABLE} says nothing of {len(strange)} fields in the folder, the first of "
            f"them well {strange[0][1]} of plate {strange[0][0]}"
        )
    metadata = pd.DataFrame(order, columns=["plate", "well", "site"])
    place = wells.index.get_indexer(pd.MultiIndex.from_tuples(field[:2] for field in order))
    for column in ("compound", "control"):
        metadata[column] = wells[column].to_numpy()[place]
    metadata["row"] = metadata["well"].str[0]
    metadata["column"] = metadata["well"].str[1:].astype(int)
    return plugin.Dataset(
        spec.name,
        metadata,
        plugin.thread_safe(lambda i: read_channels(fields[order[i]], STAINS, "field")),
        spec,
    )


def _read_wells(file: Path) -> pd.DataFrame:
    """Compound and role of each plate and well."""
    table = read_table(file)
    names = {}
    for meaning, accepted in COLUMNS.items():
        found = [c for c in accepted if c in table.columns]
        if not found:
            raise plugin.DataError(
                f"{file} has no column for the {meaning}: none of {', '.join(accepted)}"
            )
        names[found[0]] = meaning
    wells = table[list(names)].rename(columns=names).dropna(subset=["plate", "well"])
    wells["plate"] = wells["plate"].map(_plain)
    wells["well"] = wells["well"].map(lambda name: _padded(str(name).strip().upper()))
    wells = wells.drop_duplicates()
    twice = wells[wells.duplicated(["plate", "well"])]
    if len(twice):
        raise plugin.DataError(
            f"{file} gives well {twice['well'].iloc[0]} of plate {twice['plate'].iloc[0]} two "
            "compounds or roles"
        )
    negative = wells["role"].map(lambda role: str(role).strip().lower() in NEGATIVE)
    if not negative.any():
        raise plugin.DataError(
            f"{file} has no negative controls: no role is {' or '.join(NEGATIVE)}, but "
            f"{', '.join(sorted(set(wells['role'].map(str)))[:5])}"
        )
    wells["control"] = negative.map({True: "negative", False: "sample"})
    wells["compound"] = wells["compound"].map(_plain).where(wells["compound"].notna())
    wells.loc[negative, "compound"] = "none"
    return wells.set_index(["plate", "well"])


def _plain(name: object) -> str:
    """Undo the conversion of whole numbers to floats (20585.0) that missing values cause."""
    return f"{name:.0f}" if isinstance(name, float) and name.is_integer() else str(name).strip()


def _padded(well: str) -> str:
    return f"{well[0]}0{well[1:]}" if re.fullmatch(r"[A-P]\d", well) else well


def _find(folder: Path) -> dict[Field, list[Path]]:
    """Five files of each field."""
    found: dict[Field, dict[int, Path]] = {}
    for place, _, files in os.walk(folder):
        here = Path(place)
        plate = _plate_of(here.relative_to(folder).parts or (folder.name,))
        for name in files:
            match = _FILE.fullmatch(name)
            if not match or "__MACOSX" in here.parts:
                continue
            if plate is None:
                raise plugin.DataError(
                    f"no folder above {here / name} names its plate, as 20585 in "
                    "BBBC022_v1_images_20585w1 does"
                )
            field = (plate, f"{match[1].upper()}{match[2]}", int(match[3]))
            channels = found.setdefault(field, {})
            if (other := channels.setdefault(int(match[4]), here / name)) != here / name:
                raise plugin.DataError(
                    f"{other} and {here / name} are the same channel of the same field: keep one"
                )
    if not found:
        raise plugin.DataError(
            f"{folder} has no images of BBBC022, such as IXMtest_A01_s1_w1….tif in a folder "
            "BBBC022_v1_images_20585w1"
        )
    wanted = range(1, len(STAINS) + 1)
    for (plate, well, site), channels in sorted(found.items()):
        lacking = [f"w{c}" for c in wanted if c not in channels]
        if lacking:
            raise plugin.DataError(
                f"well {well}, site {site} of plate {plate} lacks the channel(s) "
                f"{', '.join(lacking)} in {folder}: fetch their archives too"
            )
    return {field: [channels[c] for c in wanted] for field, channels in found.items()}


def _plate_of(parts: Sequence[str]) -> str | None:
    """Five digits in the name of the nearest folder that has them."""
    for part in reversed(parts):
        if match := _PLATE.search(part):
            return match[1]
    return None
