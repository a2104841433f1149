"""IDRCell100k: images of 1 to 10 channels from many studies of the Image Data Resource."""

from __future__ import annotations

import re
from pathlib import Path

import zoo
from zoo import plugin

from .record_parts import classify

HUB = "nicoboou/IDRCell100k"
TABLE = "metadata.csv"
COLUMNS = ("file_name", "study", "modality")
MAX_CHANNELS = 10

SPEC = plugin.DatasetSpec(
    name="idrcell100k",
    builder="zoo.plugins.datasets.idrcell100k:open_images",
    summary="Images of 79 studies, 7 modalities, 1 to 10 channels; give its folder with --data",
    design=plugin.Design(
        label="modality",
        group="study",
        tasks=(
            *classify("modality", "modality"),
            plugin.Task(kind="retrieval", target="modality", title="modality"),
        ),
    ),
    channels=(1, 10),
    notes=(
        "ChAda-ViT was trained on these images: its scores here do not generalise to other images.",
        "Modality is how an image was acquired, not biology: pixel statistics may predict it.",
    ),
    licence="not stated; the images come from studies of the Image Data Resource, each with "
    "terms of its own",
    citation=(
        "Bourriez et al., ChAda-ViT: Channel Adaptive Attention for Joint Representation "
        "Learning of Heterogeneous Microscopy Images, CVPR 2024"
    ),
)


def open_images(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open a folder of images with a ``metadata.csv`` beside them.

    Its columns are ``file_name``, relative to the folder (a file of all channels; or several, one
    for each channel, separated by ``|``; or a folder of them, in the order of their names),
    ``study`` and ``modality``.

    Raises
    ------
    DataError
        When the table, a column, a study, a modality or files are missing.
    """
    import pandas as pd

    folder = path if path is not None else plugin.cache_folder() / "datasets" / "idrcell100k"
    file = folder / TABLE
    if not file.is_file():
        raise plugin.DataError(
            f"{folder} lacks {TABLE}: fetch the images with 'hf download {HUB} --repo-type dataset "
            f"--local-dir FOLDER', write FOLDER/{TABLE} with the columns {', '.join(COLUMNS)} "
            "(study and modality cannot be read from pixels), and give that folder with --data "
            "(path=)"
        )
    try:
        table = pd.read_csv(file, keep_default_na=False, na_values=[""], dtype=str)
    except (OSError, ValueError) as error:
        raise plugin.DataError(f"{file} is not a readable table ({error})") from error
    lacking = [c for c in COLUMNS if c not in table.columns]
    if lacking:
        raise plugin.DataError(f"{file} lacks the column(s) {', '.join(lacking)}")
    for column in COLUMNS:
        if (empty := int(table[column].isna().sum())) > 0:
            raise plugin.DataError(f"{file} has {empty} row(s) without {column}")
    files = [_files(folder, name) for name in table["file_name"]]
    missing = [f for parts in files for f in parts if not f.is_file()]
    if missing:
        raise plugin.DataError(
            f"{len(missing)} file(s) that {file} names are missing, the first of them {missing[0]}"
        )

    @plugin.thread_safe
    def read(i: int) -> plugin.Image:
        one = len(files[i]) == 1
        image = zoo.read_image(files[i][0] if one else files[i], channels="all" if one else None)
        if len(image.pixels) > MAX_CHANNELS:
            raise plugin.DataError(
                f"{files[i][0]} has {len(image.pixels)} channels; there are at most {MAX_CHANNELS}"
            )
        return image

    table = table.rename(columns={"file_name": "image"})
    return plugin.Dataset(spec.name, table, read, spec)


def _files(folder: Path, name: str) -> list[Path]:
    parts = [folder / part.strip() for part in name.split("|")]
    if len(parts) == 1 and parts[0].is_dir():
        inside = [p for p in parts[0].iterdir() if p.is_file() and not p.name.startswith(".")]
        return sorted(inside, key=_by_number) or parts
    return parts


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Order by name, with channel 2 before channel 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(p), "") if i % 2 else (0, p) for i, p in enumerate(parts)]
