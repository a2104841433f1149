"""CHAMMI: single cells of three sources with 3, 4 and 5 channels, in splits of new conditions.

The channels of an image lie side by side in one picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

import zoo
from zoo import plugin

from .record_parts import classify

RECORD = "https://doi.org/10.5281/zenodo.7988357"
TABLE = "combined_metadata.csv"
COLUMNS = ("file_path", "label", "chunk", "train_test_split")
# Parts by their name in the table: name in the paper, and number of channels.
PARTS = {"Allen": ("WTC", 3), "HPA": ("HPA", 4), "CP": ("CP", 5)}
# Cells of these two splits come from the same images, so they form one independent unit.
_SAME = {"Train": "seen conditions", "Task_one": "seen conditions"}

_NOTES = (
    "The independent unit is the split: conditions seen in training (Train and Task_one, whose "
    "cells come from the same images) and each new set of conditions. These are few, so a "
    "verdict is rarely possible; for more, add a column 'group' (field, well, donor) to the table.",
    "Classes that occur in only one split cannot be evaluated when splits are held out.",
    "These are not the scores of the benchmark, which are macro-F1 of one nearest neighbour; "
    "zoo.plugins.datasets.chammi.chammi_score combines those.",
    "The table names no stains, so channels have none.",
)
_LICENCE = "see https://doi.org/10.5281/zenodo.7988357, and its three sources"
_CITATION = (
    "Chen et al., CHAMMI: A benchmark for channel-adaptive models in microscopy imaging, "
    "NeurIPS Datasets and Benchmarks 2023"
)


def _classes(part: str) -> tuple[plugin.Task, ...]:
    return classify("label", part, {"part": (part,)})


def _part(name: str, part: str, count: int, what: str) -> plugin.DatasetSpec:
    """Describe one of the three parts, whose images have `count` channels."""
    return plugin.DatasetSpec(
        name=name,
        builder="zoo.plugins.datasets.chammi:open_cells",
        summary=f"CHAMMI: {what}, {count} channels; give its folder with --data",
        design=plugin.Design(
            label="label",
            group="unit",
            tasks=_classes(part),
            domains=("split",),
        ),
        channels=(count, count),
        notes=_NOTES,
        licence=_LICENCE,
        citation=_CITATION,
    )


SPECS = (
    _part("chammi-wtc", "WTC", 3, "cell cycle of WTC-11 stem cells"),
    _part("chammi-hpa", "HPA", 4, "localisation of proteins (HPA)"),
    _part("chammi-cp", "CP", 5, "treatments in Cell Painting"),
    plugin.DatasetSpec(
        name="chammi",
        builder="zoo.plugins.datasets.chammi:open_cells",
        summary="CHAMMI: single cells of three sources, 3, 4 and 5 channels; give it with --data",
        design=plugin.Design(
            label="label",
            group="unit",
            tasks=(*_classes("WTC"), *_classes("HPA"), *_classes("CP")),
            domains=("split",),
        ),
        channels=(3, 5),
        notes=(
            *_NOTES,
            "Each part is evaluated alone, since the number of channels identifies it.",
        ),
        licence=_LICENCE,
        citation=_CITATION,
    ),
)


def open_cells(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open the part that the record names (``chammi-wtc``, ``-hpa``, ``-cp``), or all (``chammi``).

    The folder is the unpacked archive, with ``combined_metadata.csv``; paths of images are relative
    to it. The independent unit is the split, with ``Train`` and ``Task_one`` taken together; a
    column ``group`` added to the table (field, well, donor) is used instead.

    Raises
    ------
    DataError
        When the table, a column or images are missing.
    """
    import pandas as pd

    folder = path if path is not None else plugin.cache_folder() / "datasets" / "chammi"
    file = folder / TABLE
    if not file.is_file():
        raise plugin.DataError(
            f"{folder} lacks {TABLE}: download the archive of CHAMMI from {RECORD} (its sources "
            "have terms of their own), unpack it, and give the folder that holds "
            f"{TABLE} with --data (path=)"
        )
    try:
        table = pd.read_csv(file, keep_default_na=False, na_values=[""], low_memory=False)
    except (OSError, ValueError) as error:
        raise plugin.DataError(f"{file} is not a readable table ({error})") from error
    lacking = [c for c in COLUMNS if c not in table.columns]
    if lacking:
        raise plugin.DataError(f"{file} lacks the column(s) {', '.join(lacking)}")
    unknown = sorted(set(table["chunk"].map(str)) - set(PARTS))
    if unknown:
        raise plugin.DataError(
            f"{file} has the chunk {unknown[0]!r}, which is none of {', '.join(PARTS)}"
        )
    wanted = [c for c in PARTS if spec.name in ("chammi", f"chammi-{PARTS[c][0].lower()}")]
    table = table[table["chunk"].isin(wanted)].reset_index(drop=True)
    absent = [c for c in wanted if c not in set(table["chunk"])]
    if absent:
        raise plugin.DataError(f"{file} has no image of the chunk {absent[0]}")
    files = [folder / str(name) for name in table["file_path"]]
    missing = [f for f in files if not f.is_file()]
    if missing:
        raise plugin.DataError(
            f"{len(missing)} of {len(files)} images in {file} are missing, the first of them "
            f"{missing[0]}"
        )
    counts = [PARTS[c][1] for c in table["chunk"]]
    widths = table["channel_width"].tolist() if "channel_width" in table.columns else None
    part = table["chunk"].map(lambda c: PARTS[c][0])
    split = table["train_test_split"].map(str)
    unit = part + " " + split.map(lambda s: _SAME.get(s, s))
    table = table.rename(columns={"file_path": "image"}).assign(part=part, split=part + " " + split)
    if "group" in table.columns:
        unit = table["group"].astype(str).where(table["group"].notna())
    table["unit"] = unit

    @plugin.thread_safe
    def read(i: int) -> plugin.Image:
        return _unstitch(files[i], counts[i], None if widths is None else widths[i])

    return plugin.Dataset(spec.name, table, read, spec)


def _unstitch(file: Path, count: int, width: float | None) -> plugin.Image:
    """Cut a picture into its channels, from left to right."""
    import numpy as np

    pixels = zoo.read_image(file).pixels
    across = pixels.shape[-1]
    if len(pixels) != 1:
        raise plugin.DataError(
            f"{file} has {len(pixels)} colours or pages; its channels should lie side by side in "
            "one grey picture"
        )
    if across % count or width not in (None, across // count):
        expected = f", {width:g} each in the table" if width is not None else ""
        raise plugin.DataError(
            f"{file} is {across} pixels wide, which is not {count} channels side by side{expected}"
        )
    return plugin.Image(np.stack(np.split(pixels[0], count, axis=1)))


def chammi_score(f1: Mapping[str, float]) -> float:
    """Return the score of the benchmark: the mean over its parts of their mean over new conditions.

    Parameters
    ----------
    f1
        Macro-F1 in [0, 1] of the six tasks that count: ``WTC2``, ``HPA2``, ``HPA3``, ``CP2``,
        ``CP3``, ``CP4``.

    Raises
    ------
    ValueError
        When a task is missing or is none that counts, or a number lies outside [0, 1].
    """
    tasks = {"WTC": ("WTC2",), "HPA": ("HPA2", "HPA3"), "CP": ("CP2", "CP3", "CP4")}
    known = {task for part in tasks.values() for task in part}
    if set(f1) != known:
        raise ValueError(
            f"the score counts the tasks {', '.join(sorted(known))}, but {sorted(f1)} were given"
        )
    for task, value in f1.items():
        if not (isfinite(value) and 0 <= value <= 1):
            raise ValueError(f"F1 of {task} is {value}, but must lie in [0, 1]")
    return sum(sum(f1[t] for t in part) / len(part) for part in tasks.values()) / len(tasks)
