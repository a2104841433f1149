"""The built-in datasets: a real plate, and synthetic plates and tissue whose truth is known."""

from collections.abc import Iterable

import zoo

_DOSES = {"dose_rank": tuple(range(10))}
_DOSE_TASKS = (
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
)
_FACTORS = (
    "translocation",
    "texture",
    "shape",
    "mixture",
    "arrangement",
    "intensity",
    "background",
    "density",
    "focus",
    "illumination",
    "position",
)
_LEVELS = (
    "Columns named after factors hold levels from 0 to 1; zoo.plugins.phantom.FACTORS says what "
    "these are. Doses change places from plate to plate, so that no place on the plate tells them."
)
_PHANTOMS = (
    (
        "phantom",
        "Synthetic plates: translocation planted as biology; gain, light and density vary",
        ("translocation", "intensity", "background", "density", "illumination"),
        2,
        (
            "Made by this package: the only biology is the share of the protein that is in the "
            "nucleus; its total, the number of cells and their shape carry no dose.",
            "The effect is strong: pixel statistics see much of it, because protein in the nucleus "
            "is brighter than the same amount spread over the cell.",
            "Plates differ in gain and background of each channel, vignette, brightness, "
            "background, slope of the light and seeding density.",
        ),
    ),
    (
        "phantom-shortcut",
        "Synthetic plates without biology: brightness and number of cells rise with the dose",
        ("intensity", "background", "density", "illumination"),
        2,
        (
            "Made by this package: there is no biology. Brightness doubles and cells become two "
            "and a half times as many with the dose; whatever scores here has seen these.",
            "Plates differ in gain and background of each channel, vignette, background and slope "
            "of the light, and not in seeding density, so that counting cells reads the dose.",
        ),
    ),
    (
        "phantom-tissue",
        "Synthetic tissue: two types of cells, mixed at the lowest dose and apart at the highest",
        ("mixture", "arrangement", "intensity", "background", "density"),
        3,
        (
            "Made by this package: the only biology is which cell lies beside which. Positions and "
            "shapes of cells, their number, the shares of the types, amounts and brightness "
            "carry no dose.",
            "Types look alike but for one marker each, and cells do not touch: in living tissue "
            "types differ in more, and contact makes more of it visible.",
            "One channel shows the arrangement as well as two, since the other type is where the "
            "marker is not.",
            "Plates differ in gain and background of each channel, vignette and background.",
        ),
    ),
)


@zoo.hookimpl
def zoo_datasets() -> Iterable[zoo.DatasetSpec]:
    """Give BBBC013 and the phantoms."""
    yield zoo.DatasetSpec(
        name="bbbc013",
        builder="zoo.plugins.datasets.bbbc013:open_plate",
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
    for name, summary, factors, channels, notes in _PHANTOMS:
        yield zoo.DatasetSpec(
            name=name,
            builder="zoo.plugins.phantom:open_phantom",
            summary=summary,
            label="dose",
            batch="plate",
            group="plate",
            channels=(channels, channels),
            tasks=_DOSE_TASKS,
            perturbation="dose",
            negative={"control": ("negative",)},
            position="well",
            confounders=("row", "column"),
            factors=factors,
            notes=(*notes, _LEVELS),
            licence="Apache-2.0, generated",
        )
    yield zoo.DatasetSpec(
        name="phantom-factors",
        builder="zoo.plugins.phantom:open_phantom",
        summary="Synthetic plates: eleven factors planted, each varying on its own by well",
        label="translocation",
        batch="plate",
        group="plate",
        channels=(2, 2),
        tasks=tuple(zoo.Task(kind="dose", target=f, title=f) for f in _FACTORS),
        position="well",
        confounders=("row", "column"),
        factors=_FACTORS,
        notes=(
            "Made by this package: there is no dose, every well has its own level of every factor.",
            "No factor can be read perfectly from one field: few cells say a share, a shape or a "
            "number only roughly, and cells of type B are known by their smaller nuclei alone.",
            "Arrangement is planted in some twenty cells of a field, so that hardly anything of it "
            "can be seen; phantom-tissue shows it better.",
            "Focus hides granules, so texture is seen where focus is good.",
            "Position is the place of a well on its plate: most wells of a small plate lie near an "
            "edge. It takes cells away and strays light in from one side, so that it is not free "
            "of the number of cells and of the background in the images.",
            _LEVELS,
        ),
        licence="Apache-2.0, generated",
    )
