"""BBBC048: single Jurkat cells in phases of the cell cycle, from imaging flow cytometry."""

from __future__ import annotations

import re
from pathlib import Path

from zoo import plugin

from .archive import open_folder, read_channels
from .record_parts import EACH_ITS_OWN, LJOSA, classify
from .subset import askable

PAGE = "https://bbbc.broadinstitute.org/BBBC048"
PHASES = ("G1", "S", "G2", "Prophase", "Metaphase", "Anaphase", "Telophase")
CHANNELS = {"3": "brightfield", "4": "PI", "6": "darkfield"}
STAINS = tuple(CHANNELS.values())

_FILE = re.compile(r"([^.].*)_Ch(\d+)(?:\.ome)?\.(?:jpe?g|tiff?|png)", re.IGNORECASE)

SPEC = plugin.DatasetSpec(
    name="bbbc048",
    builder="zoo.plugins.datasets.bbbc048:open_cells",
    summary="Single Jurkat cells, phases of the cell cycle, 3 channels; give them with --data",
    design=plugin.Design(
        label="phase",
        group="cell",
        tasks=(
            *classify("phase", "phase"),
            plugin.Task(
                kind="probe",
                target="phase",
                title="phase of mitosis",
                where={"stage": ("mitosis",)},
            ),
        ),
    ),
    channels=(3, 3),
    notes=(
        "Neither day nor culture of a cell is recorded: "
        + EACH_ITS_OWN.format("cell", "cell", "measurement", "days or instruments"),
        "Phases were assigned by the fluorescence of stains, among them propidium iodide, which is "
        "a channel here: its total intensity alone nearly separates G1, S and G2, and pixel "
        "statistics measure it.",
        "Anaphase and telophase have very few cells, but count as much as the others in "
        "balanced accuracy.",
    ),
    licence="see https://bbbc.broadinstitute.org/BBBC048",
    citation=(
        "Blasi et al., Nature Communications, 2016; Eulenberg et al., Nature Communications, "
        f"2017; image set BBBC048v1, {LJOSA}"
    ),
)


def open_cells(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open all cells; each has a file for each of three channels.

    A folder holds, at any depth, one folder for each phase (`PHASES`) with files such as
    ``12432_Ch3.ome.jpg`` (Ch3 brightfield, Ch4 propidium iodide, Ch6 darkfield).

    Raises
    ------
    DataError
        When there are no such files, or a channel of a cell is missing.
    """
    import pandas as pd

    if path is None:
        raise plugin.DataError(
            f"bbbc048 is not downloaded automatically: from {PAGE}, fetch the images of single "
            "cells, unpack them into a folder with one folder for each phase "
            f"({', '.join(PHASES)}), each with files such as 12432_Ch3.ome.jpg, and give it with "
            "--data (path=)"
        )
    cells = _find(open_folder(path))
    order = sorted(cells)
    metadata = pd.DataFrame(order, columns=["phase", "cell"])
    early = metadata["phase"].isin(PHASES[:3])
    metadata["stage"] = early.map({True: "interphase", False: "mitosis"})
    spec = askable(spec, metadata)
    return plugin.Dataset(
        spec.name,
        metadata,
        plugin.thread_safe(lambda i: read_channels(cells[order[i]], STAINS, "cell")),
        spec,
    )


def _find(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """Three files of each phase and cell."""
    phases = {phase.lower(): phase for phase in PHASES}
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for file in sorted(folder.rglob("*_[Cc][Hh]*")):
        match, phase = _FILE.fullmatch(file.name), phases.get(file.parent.name.lower())
        if not match or "__MACOSX" in file.parts:
            continue
        if phase is None:
            raise plugin.DataError(
                f"{file} lies in a folder that is not a phase: none of {', '.join(PHASES)}"
            )
        channels = found.setdefault((phase, match[1]), {})
        if (other := channels.setdefault(match[2].lstrip("0"), file)) != file:
            raise plugin.DataError(f"{other} and {file} are the same channel of a cell: keep one")
    if not found:
        raise plugin.DataError(f"{folder} has no images of BBBC048, such as G1/12432_Ch3.ome.jpg")
    for (phase, cell), channels in found.items():
        lacking = [f"Ch{c} ({stain})" for c, stain in CHANNELS.items() if c not in channels]
        if lacking:
            raise plugin.DataError(
                f"cell {cell} in {phase} lacks the channel(s) {', '.join(lacking)} in {folder}"
            )
    return {cell: [channels[c] for c in CHANNELS] for cell, channels in found.items()}
