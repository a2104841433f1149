"""BBBC038, the 2018 Data Science Bowl: nuclei in fluorescence and transmitted light, with masks.

The official archive holds images and masks without metadata. The modality is inferred from them:
colour images are stained tissue; grey images whose nuclei are darker than the rest are transmitted
light.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo
from zoo import plugin

from .archive import check_files, fetch_archive, open_folder, read_table
from .record_parts import EACH_ITS_OWN, LJOSA, classify
from .subset import askable

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Array = NDArray[Any]

URL = "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip"
TABLE = "labels.csv"
COLUMNS = ("image", "mask", "modality", "n_nuclei", "h", "w", "nuclear_area_frac")
COLOURS = ("red", "green", "blue")

_MEASURED = ("modality", "nuclei", "nuclear_area", "height", "width")

SPEC = plugin.DatasetSpec(
    name="dsb2018",
    builder="zoo.plugins.datasets.dsb2018:open_nuclei",
    summary="Nuclei in fluorescence and transmitted light, 1 or 3 channels, with masks",
    design=plugin.Design(
        label="modality",
        batch="source",
        group="image",
        tasks=(
            *classify("modality", "modality"),
            plugin.Task(kind="dose", target="nuclei", title="nucleus count"),
            plugin.Task(
                kind="dose",
                target="nuclei",
                title="nucleus count in fluorescence",
                where={"modality": ("fluorescence",)},
            ),
            plugin.Task(kind="dose", target="nuclear_area", title="nuclear area"),
        ),
        domains=("source",),
        confounders=("height", "width"),
    ),
    channels=(1, 3),
    notes=(
        "The experiments that images come from are not recorded: "
        + EACH_ITS_OWN.format("image", "image", "experiments", "laboratories"),
        "Images of one modality and size (source) are often crops of the same experiment, but lie "
        "in different folds. Leave-one-source-out shows how far a score generalises.",
        "Modality is determined by the source, and largely by size and number of channels: pixel "
        "statistics predict it, so it says little about an encoder.",
        "Count and area are computed from the masks. A control that is given the masks has these "
        "answers: there it is an upper bound, not a baseline.",
        "Nuclei are counted on the whole image; an encoder that crops it gets fewer.",
        "In the official archive, modality is inferred from pixels and masks: colour images are "
        "stained tissue, and grey images with nuclei darker than the rest are transmitted light.",
    ),
    licence="CC0",
    citation=(f"Caicedo et al., Nature Methods, 2019; image set BBBC038v1, {LJOSA}"),
)


def open_nuclei(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open the training images from a folder, or from the cache, downloaded on first use.

    A folder holds, at any depth, the official ``ID/images/ID.png`` with ``ID/masks/*.png``, one
    file for each nucleus; or a ``labels.csv`` with the columns of `COLUMNS`, whose ``mask`` is one
    picture of numbered nuclei. What is measured on official masks is kept in the cache: it takes a
    minute for all of them.

    Raises
    ------
    DataError
        When images or masks are missing or do not fit, or the archive cannot be reached.
    """
    folder = fetch_archive("dsb2018", URL) if path is None else open_folder(path)
    if (folder / TABLE).is_file():
        return _open_table(spec, folder)
    images = _find(folder)
    names = sorted(images)
    metadata = _recall(folder, images)
    metadata.insert(0, "image", names)
    metadata = _with_source(metadata)
    spec = askable(spec, metadata)
    return plugin.Dataset(
        spec.name, metadata, plugin.thread_safe(lambda i: _read(*images[names[i]])), spec
    )


def _open_table(spec: plugin.DatasetSpec, folder: Path) -> plugin.Dataset:
    table = read_table(folder / TABLE, COLUMNS, numbers=COLUMNS[3:])
    if table[["image", "mask"]].isna().any(axis=None):
        raise plugin.DataError(f"{folder / TABLE} has rows without an image or a mask")
    images = [folder / str(name) for name in table["image"]]
    masks = [folder / str(name) for name in table["mask"]]
    check_files([*images, *masks], spec.name)

    @plugin.thread_safe
    def read(i: int) -> plugin.Image:
        pixels, mask = _grey(zoo.read_image(images[i]).pixels), zoo.read_image(masks[i]).pixels
        if len(mask) != 1 or mask.shape[1:] != pixels.shape[1:] or mask.dtype.kind not in "iu":
            raise plugin.DataError(
                f"{masks[i]} has the shape {mask.shape} of {mask.dtype}, but should number the "
                f"nuclei on {pixels.shape[1]} × {pixels.shape[2]} pixels"
            )
        return _image(pixels, mask[0])

    names = {"n_nuclei": "nuclei", "nuclear_area_frac": "nuclear_area", "h": "height", "w": "width"}
    metadata = _with_source(table.rename(columns=names))
    return plugin.Dataset(spec.name, metadata, read, askable(spec, metadata))


def _with_source(table: pd.DataFrame) -> pd.DataFrame:
    """Add the source: modality and size, which images of one experiment have in common."""
    size = table["height"].map("{:g}".format) + " × " + table["width"].map("{:g}".format)
    source = table["modality"].map("{}, ".format) + size
    return table.assign(source=source.where(table["modality"].notna()))


def _find(folder: Path) -> dict[str, tuple[Path, list[Path]]]:
    """Image and masks of each ID."""
    images = {p.stem: p for p in folder.glob("**/images/*.png") if p.parts[-3] == p.stem}
    if not images:
        raise plugin.DataError(
            f"{folder} has no images of the 2018 Data Science Bowl: neither {TABLE} nor "
            "ID/images/ID.png …"
        )
    found = {}
    for name, image in images.items():
        masks = image.parents[1] / "masks"
        files = sorted(p for p in masks.glob("*.png") if not p.name.startswith("."))
        if not files:
            raise plugin.DataError(
                f"{masks} has no masks: the images for training, stage1_train, come with them"
            )
        found[name] = (image, files)
    return found


def _read(image: Path, masks: list[Path]) -> plugin.Image:
    pixels = _grey(zoo.read_image(image).pixels)
    return _image(pixels, _number(masks, pixels.shape[1:]))


def _image(pixels: Array, mask: Array) -> plugin.Image:
    import numpy as np

    return plugin.Image(pixels, COLOURS if len(pixels) == 3 else None, mask=mask.astype(np.int32))


def _grey(pixels: Array) -> Array:
    """Keep one channel if all three are equal: grey images are stored as coloured ones."""
    same = len(pixels) == 3 and (pixels[0] == pixels[1]).all() and (pixels[0] == pixels[2]).all()
    return pixels[:1] if same else pixels


def _number(masks: list[Path], shape: tuple[int, ...]) -> Array:
    """Number the nuclei; where two overlap, the pixel belongs to the first."""
    import numpy as np

    numbers = np.zeros(shape, np.int32)
    count = 0
    for file in masks:
        inside = zoo.read_image(file).pixels.any(axis=0)
        if inside.shape != shape:
            raise plugin.DataError(
                f"{file} has {inside.shape[0]} × {inside.shape[1]} pixels, but its image "
                f"{shape[0]} × {shape[1]}"
            )
        inside &= numbers == 0
        if inside.any():
            count += 1
            numbers[inside] = count
    return numbers


def _measure(image: Path, masks: list[Path]) -> tuple[str | None, int, float, int, int]:
    pixels = _grey(zoo.read_image(image).pixels)
    numbers = _number(masks, pixels.shape[1:])
    inside = numbers > 0
    modality = None  # unknown for grey images without nuclei
    if len(pixels) == 3:
        modality = "brightfield_stained_rgb"
    elif inside.any() and not inside.all():
        darker = pixels[0][inside].mean() < pixels[0][~inside].mean()
        modality = "brightfield_grey" if darker else "fluorescence"
    return modality, int(numbers.max()), float(inside.mean()), *inside.shape


def _recall(folder: Path, images: dict[str, tuple[Path, list[Path]]]) -> pd.DataFrame:
    """Measurements of images and masks, from the cache while no file has changed."""
    from concurrent.futures import ThreadPoolExecutor

    import pandas as pd

    names = sorted(images)
    files = (file for name in names for file in (images[name][0], *images[name][1]))
    kept = plugin.cache_folder() / "datasets" / f"dsb2018-{_listing_hash(folder, files)}.csv"
    with suppress(OSError, ValueError):
        table = pd.read_csv(kept, keep_default_na=False, na_values={"modality": [""]})
        if tuple(table.columns) == _MEASURED and len(table) == len(names):
            return table
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(lambda name: _measure(*images[name]), names))
    table = pd.DataFrame(rows, columns=list(_MEASURED))
    with suppress(OSError):  # they are measured again next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            table.to_csv(Path(scratch, "table.csv"), index=False)
            Path(scratch, "table.csv").replace(kept)
    return table


def _listing_hash(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for file in files:
        state = file.stat()
        digest.update(f"{file.name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]
