"""Cards of profiles, tissue and mixed sets that others publish."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import zoo

_SAMPLE = {"control": ("sample",)}
_CRISPR = {"perturbation_type": ("CRISPR",), **_SAMPLE}
_COMPOUND = {"perturbation_type": ("COMPOUND",), "top_concentration": ("yes",), **_SAMPLE}
_CHAMMI_CITATION = (
    "Chen et al., CHAMMI: A benchmark for channel-adaptive models in microscopy imaging, "
    "NeurIPS Datasets and Benchmarks 2023"
)
_CHAMMI_LICENCE = "see https://doi.org/10.5281/zenodo.7988357, and its three sources"


@zoo.hookimpl
def zoo_datasets() -> Iterable[zoo.DatasetSpec]:
    """Give their records."""
    yield zoo.DatasetSpec(
        name="rxrx3-core",
        builder="zoo.plugins.datasets.rxrx3_core:open_profiles",
        summary="Embeddings of HUVEC wells, gene knockouts and compounds; give them with --data",
        label="gene_or_compound",
        batch="experiment_plate",
        group="experiment_name",
        channels=(6, 6),
        tasks=(
            _retrieval("perturbation", "guides", _CRISPR),
            _retrieval("gene_or_compound", "genes", _CRISPR),
            _retrieval("perturbation", "compounds", _COMPOUND),
        ),
        perturbation="perturbation",
        negative={"treatment": ("EMPTY_control",)},
        position="address",
        confounders=("row", "column"),
        notes=(
            "Only the published embeddings are read, so noise is the only control here: that a "
            "score beats it does not say that it beats cell counts or pixel statistics.",
            "Compounds are asked for at their highest concentration.",
        ),
        licence="see the dataset card, https://huggingface.co/datasets/recursionpharma/rxrx3-core",
        citation=(
            "Kraus et al., RxRx3-core: Benchmarking drug-target interactions in high-content "
            "microscopy, arXiv 2503.20158, 2025"
        ),
    )
    yield zoo.DatasetSpec(
        name="jump-cp",
        builder="zoo.plugins.datasets.jump_cp:open_profiles",
        summary="Profiles of Cell Painting plates (cpg0016) of your choice; give them with --data",
        label="gene_or_compound",
        batch="source",
        group="plate",
        channels=(5, 5),
        tasks=(
            zoo.Task(
                kind="separation",
                target="control",
                title="controls",
                where={"control": ("negative", "positive")},
            ),
            zoo.Task(
                kind="knn",
                target="gene_or_compound",
                title="positive control",
                where={"control": ("positive",)},
            ),
            zoo.Task(
                kind="probe",
                target="gene_or_compound",
                title="positive control",
                where={"control": ("positive",)},
            ),
            _retrieval("jcp2022", "replicates", _SAMPLE),
        ),
        perturbation="jcp2022",
        negative={"control": ("negative",)},
        position="well",
        domains=("source",),
        confounders=("row", "column"),
        notes=(
            "Replicates often lie at the same well position of other plates: look at the retrieval "
            "that leaves these out.",
            "The controls cell-count and intensity are columns of the profiles themselves, with "
            "whatever normalisation these have had.",
        ),
        licence="CC0 1.0 (Cell Painting Gallery)",
        citation=(
            "Chandrasekaran et al., JUMP Cell Painting dataset: morphological impact of 136,000 "
            "chemical and genetic perturbations, bioRxiv 2023.03.23.534023, 2023"
        ),
    )
    yield zoo.DatasetSpec(
        name="hest",
        builder="zoo.plugins.datasets.hest:open_task",
        summary="H&E patches and the expression of genes there; gated: give a task with --data",
        label="expression",
        batch="sample",
        group="patient",
        channels=(3, 3),
        tasks=(zoo.Task(kind="dose", target="expression", title="expression"),),
        confounders=("log_total",),
        notes=(
            "Folds hold out patients. A task has few of them, so intervals are wide and mean it.",
            "Expression is log1p of counts as they are stored: it rises with all the RNA of a "
            "spot, and so with the density of cells; log_total is the confounder to look at.",
            "Neighbouring patches resemble each other: their number says little.",
        ),
        licence="CC BY-NC-SA 4.0, gated on the hub",
        citation=(
            "Jaume et al., HEST-1k: A dataset for spatial transcriptomics and histology image "
            "analysis, NeurIPS Datasets and Benchmarks 2024"
        ),
    )
    for name, part, count, what in (
        ("chammi-wtc", "WTC", 3, "cell cycle of WTC-11 stem cells"),
        ("chammi-hpa", "HPA", 4, "place of proteins in the Human Protein Atlas"),
        ("chammi-cp", "CP", 5, "treatments in Cell Painting"),
    ):
        yield zoo.DatasetSpec(
            name=name,
            builder="zoo.plugins.datasets.chammi:open_cells",
            summary=f"CHAMMI: {what}, {count} channels; give its folder with --data",
            label="label",
            group="unit",
            channels=(count, count),
            tasks=_classes(part),
            domains=("split",),
            notes=_CHAMMI_NOTES,
            licence=_CHAMMI_LICENCE,
            citation=_CHAMMI_CITATION,
        )
    yield zoo.DatasetSpec(
        name="chammi",
        builder="zoo.plugins.datasets.chammi:open_cells",
        summary="CHAMMI: single cells of three sources, 3, 4 and 5 channels; give it with --data",
        label="label",
        group="unit",
        channels=(3, 5),
        tasks=(*_classes("WTC"), *_classes("HPA"), *_classes("CP")),
        domains=("split",),
        notes=(*_CHAMMI_NOTES, "Each part is asked for alone: the number of channels tells parts."),
        licence=_CHAMMI_LICENCE,
        citation=_CHAMMI_CITATION,
    )
    yield zoo.DatasetSpec(
        name="idrcell100k",
        builder="zoo.plugins.datasets.idrcell100k:open_images",
        summary="Images of 79 studies, 7 modalities, 1 to 10 channels; give its folder with --data",
        label="modality",
        group="study",
        channels=(1, 10),
        tasks=(
            zoo.Task(kind="knn", target="modality", title="modality"),
            zoo.Task(kind="probe", target="modality", title="modality"),
            zoo.Task(kind="retrieval", target="modality", title="modality"),
        ),
        notes=(
            "ChAda-ViT was trained on these images: its scores here say nothing of other images.",
            "Modality is how an image was made, not biology: pixel statistics may tell it.",
        ),
        licence="not stated; the images come from studies of the Image Data Resource, each with "
        "terms of its own",
        citation=(
            "Bourriez et al., ChAda-ViT: Channel Adaptive Attention for Joint Representation "
            "Learning of Heterogeneous Microscopy Images, CVPR 2024"
        ),
    )


_CHAMMI_NOTES = (
    "The independent unit is the split: conditions seen in training (Train and Task_one, whose "
    "cells come from the same images) and each new set of conditions. These are few, so hardly a "
    "verdict is possible; add a column 'group' (field, well or donor) to the table for more.",
    "Classes that occur in one split only cannot be asked for when splits are held out.",
    "These are not the scores of the benchmark, which are macro-F1 of one nearest neighbour; "
    "zoo.plugins.datasets.chammi.chammi_score combines those.",
    "The table names no stains, so channels have none.",
)


def _retrieval(target: str, title: str, where: dict[str, Any]) -> zoo.Task:
    return zoo.Task(kind="retrieval", target=target, title=title, where=where)


def _classes(part: str) -> tuple[zoo.Task, ...]:
    where = {"part": (part,)}
    return (
        zoo.Task(kind="knn", target="label", title=part, where=where),
        zoo.Task(kind="probe", target="label", title=part, where=where),
    )


def askable(spec: zoo.DatasetSpec, table: Any) -> zoo.DatasetSpec:
    """Return a record without the tasks that some files cannot answer, with a note on each.

    A record that would be left without any stays as it is: evaluation says what is wrong with it.

    Parameters
    ----------
    spec
        Record of the whole.
    table
        Metadata of the items that are here, a data frame.
    """
    kept: list[zoo.Task] = []
    left_out: list[zoo.Task] = []
    for task in spec.tasks:
        chosen = table.dropna(subset=[task.target, spec.group])
        for column, values in task.where.items():
            chosen = chosen[chosen[column].isin(values)]
        units = chosen.groupby(task.target)[spec.group].nunique()
        separate = task.kind in ("knn", "probe", "retrieval")
        enough = int((units > 1).sum() if separate else len(units)) > 1
        (kept if enough else left_out).append(task)
    if not kept or not left_out:
        return spec
    notes = [
        f"{task.title} ({task.kind}) is not asked: the files here have no two values of "
        f"{task.target} for it" + (f" in two {spec.group}s each." if task.kind != "dose" else ".")
        for task in left_out
    ]
    return replace(spec, tasks=tuple(kept), notes=(*spec.notes, *notes))
