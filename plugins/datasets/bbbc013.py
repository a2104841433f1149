"""BBBC013: one 96-well plate of U2OS cells in which FKHR-GFP moves into the nucleus.

The layout follows from the well (rows A–D wortmannin, E–H LY294002, dose rising with the column),
so that the official archive and a folder with a ``labels.csv`` give the same table.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import zoo
from zoo import plugin

from .archive import fetch_archive

URL = "https://data.broadinstitute.org/bbbc/BBBC013/BBBC013_v1_images_bmp.zip"
STAINS = ("FKHR-GFP", "DNA")
# sha256 of all pixels: wells A01, A02, … H12, in each the GFP plane, then DNA, as bytes. It holds
# for the plate in any file format.
PIXELS_SHA256 = "9640b667d2ec97deb36111148c4349bba3b090ccae23897aef08bda82ac6d813"

_OFFICIAL = re.compile(r"Channel([12])-\d+-([A-H])-(0[1-9]|1[0-2])\.(bmp|tiff?)", re.IGNORECASE)
_PLAIN = re.compile(r"([A-H])(0[1-9]|1[0-2])\.tiff?", re.IGNORECASE)

_DOSES = {"dose_rank": tuple(range(10))}

SPEC = plugin.DatasetSpec(
    name="bbbc013",
    builder="zoo.plugins.datasets.bbbc013:open_plate",
    summary="U2OS cells, FKHR-GFP translocation, 96 wells, 2 channels, two drugs in nine doses",
    design=plugin.Design(
        label="dose_rank",
        batch="row",
        group="row",
        tasks=(
            plugin.Task(kind="dose", target="dose_rank", title="dose", where=_DOSES),
            plugin.Task(
                kind="separation",
                target="control",
                title="positive controls",
                where={"control": ("negative", "positive")},
            ),
            plugin.Task(
                kind="retrieval",
                target="treatment",
                title="replicates",
                where={"control": ("sample",)},
            ),
            plugin.Task(kind="knn", target="dose_rank", title="dose level"),
            plugin.Task(kind="probe", target="dose_rank", title="dose level"),
            plugin.Task(
                kind="knn", target="compound", title="compound", where={"control": ("sample",)}
            ),
        ),
        perturbation="treatment",
        negative={"control": ("negative",)},
        domains=("compound",),
        confounders=("column",),
    ),
    channels=(2, 2),
    notes=(
        "One plate: rows are the independent units, so results do not generalise to other plates.",
        "A dose has the same column in all rows of a compound, so position on the plate and "
        "dose are confounded.",
        "Compound is confounded with the half of the plate (rows A–D, E–H).",
    ),
    licence="CC BY 3.0",
    citation=(
        "Image set BBBC013v1 provided by Ilya Ravkin, available from the Broad Bioimage "
        "Benchmark Collection (Ljosa et al., Nature Methods, 2012)"
    ),
)


def open_plate(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open the plate from a folder, or from the cache, downloaded on first use.

    A folder holds, at any depth, either the official ``Channel1-01-A-01.BMP`` … or one
    two-channel ``A01.tif`` … for each well; wells may be missing.

    Raises
    ------
    DataError
        When the folder has no such images, or the archive cannot be reached.
    IntegrityError
        When downloaded pixels are not those of the plate.
    """
    import pandas as pd

    folder = path if path is not None else fetch_archive("bbbc013", URL, check=_check)
    if not folder.is_dir():
        raise plugin.DataError(f"{folder} is not a folder")
    files = _find(folder)
    if not files:
        raise plugin.DataError(
            f"{folder} has no images of BBBC013: neither Channel1-01-A-01.BMP … nor A01.tif …"
        )
    wells = sorted(files)
    metadata = pd.DataFrame([_describe(well) for well in wells])
    return plugin.Dataset(
        spec.name, metadata, plugin.thread_safe(lambda i: _read(files[wells[i]])), spec
    )


def _find(folder: Path) -> dict[str, list[Path]]:
    """Files of each well, GFP before DNA."""
    official: dict[str, dict[str, Path]] = {}
    plain: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if match := _OFFICIAL.fullmatch(path.name):
            channel, row, column = match.group(1, 2, 3)
            official.setdefault(f"{row.upper()}{column}", {})[channel] = path
        elif match := _PLAIN.fullmatch(path.name):
            plain[f"{match.group(1).upper()}{match.group(2)}"] = [path]
    for well, channels in official.items():
        if len(channels) != 2:
            raise plugin.DataError(f"well {well} in {folder} has only one of its two channels")
    return plain or {well: [c["1"], c["2"]] for well, c in official.items()}


def _describe(well: str) -> dict[str, str | int]:
    row, column = well[0], int(well[1:])
    first_half = row in "ABCD"
    positive = 12 if first_half else 1
    if column == positive:
        dose, control = 10, "positive"
    elif column in (1, 2, 12):
        dose, control = 0, "negative"
    else:
        dose, control = column - 2, "sample"
    compound = ("wortmannin" if first_half else "LY294002") if control == "sample" else "none"
    return {
        "well": well,
        "row": row,
        "column": column,
        "compound": compound,
        "dose_rank": dose,
        "control": control,
        "treatment": f"{compound} {dose}" if control == "sample" else control,
    }


def _read(paths: list[Path]) -> plugin.Image:
    image = zoo.read_image(paths[0] if len(paths) == 1 else paths)
    if len(image.pixels) != len(STAINS):
        raise plugin.DataError(f"{paths[0]} has {len(image.pixels)} channel(s) instead of two")
    return plugin.Image(image.pixels, STAINS)


def _check(unpacked: Path) -> None:
    """Raise `IntegrityError` for other pixels than those of the plate."""
    found = pixels_sha256(unpacked)
    if found != PIXELS_SHA256:
        raise plugin.IntegrityError(
            f"the pixels from {URL} have the sha256 {found} instead of {PIXELS_SHA256}; "
            "to use them anyway, unpack the archive and give the folder with --data"
        )


def pixels_sha256(folder: Path) -> str:
    """Hash all pixels of a plate in the order of its wells."""
    import numpy as np

    digest = hashlib.sha256()
    files = _find(folder)
    for well in sorted(files):
        digest.update(np.ascontiguousarray(_read(files[well]).pixels).data)
    return digest.hexdigest()
