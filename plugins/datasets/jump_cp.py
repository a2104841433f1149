"""JUMP Cell Painting (cpg0016): profiles of wells, with controls taken from their features.

Only profiles are read, not images. Feature sets lie in Parquet files as in the Cell Painting
Gallery: one file for each plate (``PLATE/PLATE.parquet``), or one for all.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo import plugin

from .record_parts import SAMPLE, classify, retrieval
from .subset import askable

GALLERY = "https://cellpainting-gallery.s3.amazonaws.com/index.html#cpg0016-jump/"

SPEC = plugin.DatasetSpec(
    name="jump-cp",
    builder="zoo.plugins.datasets.jump_cp:open_profiles",
    summary="Profiles of Cell Painting plates (cpg0016) of your choice; give them with --data",
    design=plugin.Design(
        label="gene_or_compound",
        batch="source",
        group="plate",
        tasks=(
            plugin.Task(
                kind="separation",
                target="control",
                title="positive controls",
                where={"control": ("negative", "positive")},
            ),
            *classify("gene_or_compound", "positive control", {"control": ("positive",)}),
            retrieval("jcp2022", "replicates", SAMPLE),
        ),
        perturbation="jcp2022",
        negative={"control": ("negative",)},
        position="well",
        domains=("source",),
        confounders=("row", "column"),
    ),
    channels=(5, 5),
    notes=(
        "Replicates often lie at the same well position of other plates: see the retrieval that "
        "excludes these.",
        "The controls cell-count and intensity are columns of the profiles themselves, with "
        "the normalisation that was applied to them.",
    ),
    licence="CC0 1.0 (Cell Painting Gallery)",
    citation=(
        "Chandrasekaran et al., JUMP Cell Painting dataset: morphological impact of 136,000 "
        "chemical and genetic perturbations, bioRxiv 2023.03.23.534023, 2023"
    ),
)


def open_profiles(spec: plugin.DatasetSpec, *, path: Path | None = None) -> plugin.Dataset:
    """Open all feature sets of a folder, with the tables that describe the wells.

    The folder holds, at any depth, ``well.csv`` and ``plate.csv`` (also gzipped), if possible
    ``compound.csv``, ``orf.csv`` and ``crispr.csv``, and Parquet files. ``PLATE/PLATE.parquet`` of
    all plates make the set ``cellprofiler``, ``PLATE/PLATE_NAME.parquet`` the set ``NAME``; every
    other file is a set of its own name. Items are the wells that all sets have. Numbers are read
    when they are needed; opening scans them once for missing values.

    Raises
    ------
    DataError
        When files or columns are missing, the sets have no well in common, or a well occurs twice.
    MissingExtraError
        Without pyarrow.
    """
    from .jump_cp_features import (
        COUNTS,
        INTENSITY,
        align,
        feature_sets,
        reader,
        said,
        sound_columns,
    )
    from .jump_cp_wells import TABLES, describe

    folder = path if path is not None else plugin.cache_folder() / "datasets" / "jump-cp"
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else []
    if not files:
        raise plugin.DataError(
            f"{folder} holds no profiles of JUMP-CP (*.parquet), which are too large to "
            f"download automatically: take the plates that you want from {GALLERY} "
            "(SOURCE/workspace/profiles/BATCH/PLATE/PLATE.parquet, or one of the assembled files) "
            f"and well.csv.gz, plate.csv.gz, compound.csv.gz, orf.csv.gz and crispr.csv.gz from "
            f"{TABLES}, put them into one folder, and give it with --data (path=)"
        )
    sets = feature_sets(files)
    table, places, notes = align(sets)
    table, more = describe(table, folder)
    notes += more

    profiles: dict[str, plugin.Precomputed] = {}
    for feature_set, place in zip(sets, places, strict=True):
        features = [c for c in feature_set.columns if not c.startswith("Metadata_")]
        sound, note = sound_columns(feature_set, features, place)
        notes += note
        profiles[feature_set.name] = plugin.Precomputed(
            f"{len(sound)} features of {said(feature_set)}", reader(feature_set, sound, place)
        )
    for name, pattern, control in (
        ("cell-count", COUNTS, "structural"),
        ("intensity", INTENSITY, "statistics"),
    ):
        for feature_set, place in zip(sets, places, strict=True):
            chosen = [c for c in feature_set.columns if pattern.fullmatch(c)]
            sound, _ = sound_columns(feature_set, chosen, place) if chosen else ([], [])
            if sound:
                profiles[name] = plugin.Precomputed(
                    f"{len(sound)} of the columns of {said(feature_set)}: {sound[0]}"
                    + (", …" if len(sound) > 1 else ""),
                    reader(feature_set, sound, place),
                    role="control",
                    control=control,  # type: ignore[arg-type]
                )
                break
        else:
            notes.append(f"No feature set has columns for the control {name}, so it is missing.")
    changed = replace(spec, notes=(*spec.notes, *notes))
    return plugin.Dataset(spec.name, table, None, askable(changed, table), profiles)
