"""The built-in datasets: a real plate and a synthetic one."""

from collections.abc import Iterable

import zoo

_DOSES = {"dose_rank": tuple(range(10))}


@zoo.hookimpl
def zoo_datasets() -> Iterable[zoo.DatasetSpec]:
    """Give BBBC013 and the phantom."""
    yield zoo.DatasetSpec(
        name="bbbc013",
        builder="zoo.plugins.bbbc013:open_plate",
        summary="U2OS cells, FKHR-GFP translocation, 96 wells, 2 channels, two drugs in nine doses",
        label="dose_rank",
        batch="row",
        group="row",
        channels=(2, 2),
        tasks=(
            zoo.Task(kind="dose", target="dose_rank", title="dose", where=_DOSES),
            zoo.Task(
                kind="separation",
                target="control",
                title="controls",
                where={"control": ("negative", "positive")},
            ),
            zoo.Task(
                kind="retrieval",
                target="treatment",
                title="replicates",
                where={"control": ("sample",)},
            ),
            zoo.Task(kind="knn", target="dose_rank", title="dose level"),
            zoo.Task(kind="probe", target="dose_rank", title="dose level"),
            zoo.Task(
                kind="knn", target="compound", title="compound", where={"control": ("sample",)}
            ),
        ),
        perturbation="treatment",
        negative={"control": ("negative",)},
        domains=("compound",),
        confounders=("column",),
        notes=(
            "One plate: rows are the independent units, and nothing is said about other plates.",
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
    yield zoo.DatasetSpec(
        name="phantom",
        builder="zoo.plugins.phantom:open_phantom",
        summary="Synthetic plates: translocation planted as biology; gain, light and density vary",
        label="dose",
        batch="plate",
        group="plate",
        channels=(2, 2),
        tasks=(
            zoo.Task(kind="dose", target="dose", title="dose"),
            zoo.Task(
                kind="separation",
                target="control",
                title="controls",
                where={"control": ("negative", "positive")},
            ),
            zoo.Task(kind="retrieval", target="dose", title="replicates"),
            zoo.Task(kind="knn", target="dose", title="dose level"),
            zoo.Task(kind="probe", target="dose", title="dose level"),
        ),
        notes=(
            "Made by this package: the only biology is the share of the protein that is in the "
            "nucleus; its total, the number of cells and their shape carry no dose.",
            "Plates differ in gain, background, illumination and seeding density.",
        ),
        licence="Apache-2.0, generated",
    )
