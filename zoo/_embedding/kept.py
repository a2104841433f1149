"""Files of the cache of embeddings: list them, and check that they can be read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.registry.cache_folder import cache_folder


@dataclass(frozen=True)
class KeptRows:
    """One file: embeddings of one encoder, as it was, for images of one number of channels.

    Parameters
    ----------
    path, size
        Where it is, and its bytes.
    encoder
        Name of the encoder; empty in files of older releases, and in broken ones.
    rows
        Number of images; None if the file cannot be read.
    """

    path: Path
    size: int
    encoder: str
    rows: int | None


def kept_embeddings(folder: Path | None = None) -> Iterator[KeptRows]:
    """List the files of the cache; of each, only the names are read."""
    for path in sorted(((folder or cache_folder()) / "embeddings").glob("*.npz")):
        encoder, rows = "", None
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                encoder = str(file["encoder"]) if "encoder" in file.files else ""
                rows = len(file["hashes"])
        except Exception:  # a broken file raises errors of zipfile, zlib, NumPy or Python
            encoder = ""
        yield KeptRows(path, path.stat().st_size, encoder, rows)


def is_whole(kept: KeptRows) -> bool:
    """Whether all rows can be read; zip files have checksums."""
    try:
        with kept.path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return len(file["hashes"]) == len(file["rows"])
    except Exception:
        return False


def unfinished_files(folder: Path | None = None) -> list[Path]:
    """Return halves that writers which were killed have left."""
    return sorted(((folder or cache_folder()) / "embeddings").glob("*.partial"))
