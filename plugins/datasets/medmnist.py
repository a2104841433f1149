"""BloodMNIST and TissueMNIST: small pictures of single cells, from MedMNIST.

Its ``.npz`` files are zip archives of arrays; unpacked, these are read from disk item by item.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import plugin

from .archive import fetch_archive, open_folder
from .record_parts import EACH_ITS_OWN, LJOSA, classify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

SPLITS = ("train", "val", "test")
LARGEST = 2**31  # bytes of images that are taken into memory

_URL = "https://zenodo.org/records/10519652/files/{}.npz?download=1"


@dataclass(frozen=True)
class Card:
    """Facts about one set: the hash of its file for 28 pixels, its stains and classes."""

    md5: str
    stains: tuple[str, ...]
    labels: tuple[str, ...]


CARDS = {
    "bloodmnist": Card(
        md5="7053d0359d879ad8a5505303e11de1dc",
        stains=("red", "green", "blue"),
        labels=(
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocyte",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
    ),
    "tissuemnist": Card(
        md5="ebe78ee8b05294063de985d821c1c34b",
        stains=("DNA",),
        labels=(
            "collecting duct, connecting tubule",
            "distal convoluted tubule",
            "glomerular endothelial cell",
            "interstitial endothelial cell",
            "leukocyte",
            "podocyte",
            "proximal tubule segment",
            "thick ascending limb",
        ),
    ),
}

_YANG = "Yang et al., MedMNIST v2, Scientific Data, 2023"

SPECS = (
    plugin.DatasetSpec(
        name="bloodmnist",
        builder="zoo.plugins.datasets.medmnist:open_cells",
        summary="Blood cells in eight classes, colour, 28 pixels (larger ones with --data)",
        design=plugin.Design(
            label="cell_type",
            group="image",
            tasks=(
                *classify("cell_type", "cell type"),
                plugin.Task(kind="retrieval", target="cell_type", title="cell type"),
            ),
        ),
        channels=(3, 3),
        notes=(
            "Donors are not recorded: " + EACH_ITS_OWN.format("image", "image", "donors", "donors"),
            "The official splits are random parts of the same images, no groups: all three take "
            "part, and the column split tells them apart.",
            "All cell types are downscaled by the same factor, so size and colour are informative.",
        ),
        licence="CC BY 4.0",
        citation=f"{_YANG}; Acevedo et al., Data in Brief, 2020",
    ),
    plugin.DatasetSpec(
        name="tissuemnist",
        builder="zoo.plugins.datasets.medmnist:open_cells",
        summary="Nuclei of human kidney cortex in eight classes, 28 pixels (larger with --data)",
        design=plugin.Design(
            label="cell_type",
            group="image",
            tasks=(
                *classify("cell_type", "cell type"),
                plugin.Task(kind="retrieval", target="cell_type", title="cell type"),
            ),
        ),
        channels=(1, 1),
        notes=(
            "The nuclei come from three specimens, which are not recorded: "
            + EACH_ITS_OWN.format("image", "image", "three specimens", "people"),
            "The official splits are random parts of the same images, no groups: all three take "
            "part, and the column split tells them apart.",
            "Neighbouring nuclei share type, focus and background, but lie in different folds.",
            "Each image is a maximum over a small stack, resized.",
        ),
        licence="CC BY 4.0",
        citation=(
            f"{_YANG}; Woloshuk et al., Cytometry Part A, 2021; image set BBBC051v1, {LJOSA}"
        ),
    ),
)


def open_cells(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open all three splits, at 28 pixels from the cache, downloaded on first use.

    `path` is an ``.npz`` file of any size (``bloodmnist_224.npz``), a folder that holds one, or the
    folder that it has been unpacked into. A file is taken into memory; one with more than `LARGEST`
    bytes of images has to be unpacked.

    Raises
    ------
    DataError
        When the file is not one of the set, arrays are missing or do not fit, or the archive cannot
        be reached.
    IntegrityError
        When the archive is not the published one.
    """
    import numpy as np
    import pandas as pd

    card = CARDS[spec.name]
    place = fetch_archive(spec.name, _URL.format(spec.name), md5=card.md5) if path is None else path
    place = place.expanduser()
    if place.suffix.lower() != ".npz" or place.is_dir():
        place = _choose(open_folder(place), spec.name)
    arrays = _unpacked(place) if place.is_dir() else _from_file(place)
    images, rows = [], []
    for split in SPLITS:
        pictures, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        _check(place, split, pictures, labels, card)
        images.append(pictures)
        rows += [(split, i, card.labels[int(code)]) for i, code in enumerate(labels.ravel())]
    metadata = pd.DataFrame(rows, columns=["split", "index", "cell_type"])
    metadata.insert(0, "image", metadata["split"] + " " + metadata["index"].map(str))
    ends = np.cumsum([len(pictures) for pictures in images])

    @plugin.thread_safe
    def read(i: int) -> plugin.Image:
        k = int(np.searchsorted(ends, i, side="right"))
        picture = np.array(images[k][i - (ends[k] - len(images[k]))])
        pixels = picture[None] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
        return plugin.Image(np.ascontiguousarray(pixels), card.stains)

    return plugin.Dataset(spec.name, metadata, read, spec)


def _choose(folder: Path, name: str) -> Path:
    """Return the unpacked folder itself, or the one file of the set that it holds."""
    if (folder / "train_images.npy").is_file():
        return folder
    files = sorted(folder.glob(f"{name}*.npz"))
    if len(files) == 1:
        return files[0]
    if files:
        raise plugin.DataError(
            f"{folder} holds {', '.join(f.name for f in files)}: give one of the files"
        )
    raise plugin.DataError(f"{folder} holds neither {name}.npz (or {name}_64.npz …) nor its arrays")


def _wanted() -> list[str]:
    return [f"{split}_{what}" for split in SPLITS for what in ("images", "labels")]


def _unpacked(folder: Path) -> dict[str, Array]:
    import numpy as np

    arrays = {}
    for name in _wanted():
        file = folder / f"{name}.npy"
        if not file.is_file():
            raise plugin.DataError(f"{file} is missing")
        try:
            arrays[name] = np.load(file, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise plugin.DataError(f"{file} is not a readable array ({error})") from error
    return arrays


def _from_file(file: Path) -> dict[str, Array]:
    import numpy as np

    if not file.is_file():
        raise plugin.DataError(f"{file} does not exist")
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {m.filename.removesuffix(".npy"): m.file_size for m in archive.infolist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise plugin.DataError(f"{file} is not a readable .npz file ({error})") from error
    lacking = [name for name in _wanted() if name not in sizes]
    if lacking:
        raise plugin.DataError(f"{file} lacks the array(s) {', '.join(lacking)}")
    if sum(size for name, size in sizes.items() if name.endswith("_images")) > LARGEST:
        raise plugin.DataError(
            f"{file} holds more than {LARGEST / 2**30:g} GiB of images: unpack it with 'unzip "
            f"{file.name} -d FOLDER' and give that folder with --data (path=)"
        )
    try:
        with np.load(file) as content:
            return {name: content[name] for name in _wanted()}
    except Exception as error:  # zipfile and zlib raise errors of many types on broken archives
        raise plugin.DataError(f"{file} is not a readable .npz file ({error})") from error


def _check(place: Path, split: str, images: Array, labels: Array, card: Card) -> None:
    import numpy as np

    shape = ("n", "side", "side") + (3,) * (len(card.stains) == 3)
    fits = images.ndim == len(shape) and images.shape[3:] == shape[3:]
    if not fits or images.dtype != np.uint8 or not images.size:
        raise plugin.DataError(
            f"{split}_images of {place} has the shape {images.shape} of {images.dtype} instead of "
            f"({', '.join(map(str, shape))}) of uint8"
        )
    if labels.size != len(images) or labels.dtype.kind not in "iu":
        raise plugin.DataError(
            f"{split}_labels of {place} has the shape {labels.shape} of {labels.dtype}, but there "
            f"are {len(images)} images"
        )
    if labels.min() < 0 or labels.max() >= len(card.labels):
        raise plugin.DataError(
            f"{split}_labels of {place} reach from {labels.min()} to {labels.max()}, but there are "
            f"{len(card.labels)} classes, from 0"
        )
