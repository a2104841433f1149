"""CRC-VAL-HE-7K (Kather 2018): tiles of colorectal tissue in nine classes, H&E."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import zoo
from zoo import plugin

from .archive import check_files, fetch_archive, open_folder, read_table
from .record_parts import EACH_ITS_OWN, classify

if TYPE_CHECKING:
    import pandas as pd

URL = "https://zenodo.org/records/1214456/files/CRC-VAL-HE-7K.zip?download=1"
MD5 = "2fd1651b4f94ebd818ebf90ad2b6ce06"
TABLE = "labels.csv"
# Meaning of the abbreviations in file names.
TISSUES = {
    "ADI": "adipose",
    "BACK": "background",
    "DEB": "debris",
    "LYM": "lymphocytes",
    "MUC": "mucus",
    "MUS": "smooth muscle",
    "NORM": "normal colon mucosa",
    "STR": "cancer-associated stroma",
    "TUM": "colorectal adenocarcinoma epithelium",
}
COLOURS = ("red", "green", "blue")
PIXEL_SIZE = 0.5  # µm

_TILE = re.compile(rf"({'|'.join(TISSUES)})-TCGA-[A-Z]+\.(tiff?|png)", re.IGNORECASE)

SPEC = plugin.DatasetSpec(
    name="he_crcval",
    builder="zoo.plugins.datasets.he_crcval:open_tiles",
    summary="Tiles of colorectal cancer and normal tissue in nine classes, H&E, 0.5 µm",
    design=plugin.Design(
        label="tissue",
        group="image",
        tasks=(
            *classify("tissue", "tissue"),
            plugin.Task(kind="retrieval", target="tissue", title="tissue"),
        ),
    ),
    channels=(3, 3),
    notes=(
        "Names of tiles do not give the patient: "
        + EACH_ITS_OWN.format("tile", "tile", "50 patients", "patients or hospitals"),
        "Tiles of one slide lie in different folds, so an encoder that recognises the stain of "
        "a slide scores well.",
        "Colour alone separates many of these classes: compare with pixel statistics first.",
    ),
    licence="CC BY 4.0",
    citation=(
        "Kather, Halama and Marx, 100,000 histological images of human colorectal cancer and "
        "healthy tissue, Zenodo 1214456, 2018"
    ),
)


def open_tiles(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open the tiles from a folder, or from the cache, downloaded on first use (about 800 MB).

    A folder holds, at any depth, the official ``CLASS/CLASS-TCGA-XXXXXXXX.tif``; or a
    ``labels.csv`` with the columns ``image`` and ``tissue``.

    Raises
    ------
    DataError
        When tiles are missing or of an unknown class, or the archive cannot be reached.
    IntegrityError
        When the archive is not the published one.
    """
    folder = fetch_archive("he_crcval", URL, md5=MD5) if path is None else open_folder(path)
    table = folder / TABLE
    metadata = _from_table(table) if table.is_file() else _from_names(folder)
    unknown = sorted(set(metadata["tissue"].map(str)) - set(TISSUES))
    if unknown:
        raise plugin.DataError(
            f"{table} has the tissue {unknown[0]!r}, which is none of {', '.join(TISSUES)}"
        )
    metadata["meaning"] = metadata["tissue"].map(TISSUES)
    files = [folder / str(name) for name in metadata["image"]]
    check_files(files, spec.name)
    return plugin.Dataset(spec.name, metadata, plugin.thread_safe(lambda i: _read(files[i])), spec)


def _from_table(table: Path) -> pd.DataFrame:
    metadata = read_table(table, ["image", "tissue"])
    if metadata["image"].isna().any():
        raise plugin.DataError(f"{table} has rows without an image")
    return metadata


def _from_names(folder: Path) -> pd.DataFrame:
    """Read classes from the names of files, which must agree with their folders."""
    import pandas as pd

    rows = []
    for file in sorted(folder.rglob("*-TCGA-*")):
        if match := _TILE.fullmatch(file.name):
            tissue = match[1].upper()
            if file.parent.name in TISSUES and file.parent.name != tissue:
                raise plugin.DataError(f"{file} is named {tissue}, but lies in {file.parent.name}")
            rows.append((file.relative_to(folder).as_posix(), tissue))
    if not rows:
        raise plugin.DataError(
            f"{folder} has no tiles of CRC-VAL-HE-7K: neither {TABLE} nor "
            "ADI/ADI-TCGA-AAICEQFN.tif …"
        )
    return pd.DataFrame(rows, columns=["image", "tissue"])


def _read(file: Path) -> plugin.Image:
    pixels = zoo.read_image(file).pixels
    if len(pixels) != len(COLOURS):
        raise plugin.DataError(
            f"{file} has {len(pixels)} channel(s) instead of red, green and blue"
        )
    return plugin.Image(pixels, COLOURS, PIXEL_SIZE)
