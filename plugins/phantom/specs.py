"""The phantoms that are registered: what each plants, and what is asked of it."""

from collections.abc import Mapping

from zoo import plugin

from .factors import FACTORS, PLATE, Dials

_PLATES = {PLATE: 0.75, "intensity": 0.3, "background": 0.3, "illumination": 0.5, "density": 0.3}

DATASETS: Mapping[str, Dials] = {
    "phantom": Dials(rises={"translocation": 1.0}, plates=_PLATES, cells=18.0),
    "phantom-shortcut": Dials(
        rises={"intensity": 1.0, "density": 1.0},
        plates={PLATE: 0.75, "background": 0.3, "illumination": 0.5},
        cells=22.0,
    ),
    "phantom-tissue": Dials(
        fixed={"mixture": 0.4},
        rises={"arrangement": 1.0},
        wells={"mixture": 0.2, "density": 0.1, "intensity": 0.3},
        plates={PLATE: 0.75, "background": 0.3},
        channels=3,
        cells=90.0,
        tissue=True,
    ),
    "phantom-factors": Dials(
        fixed={"mixture": 0.2},
        wells={name: 0.6 if name == "mixture" else 1.0 for name in FACTORS},
        plates={PLATE: 0.5},
        doses=1,
        replicates=30,
        cells=16.0,
    ),
}

_DOSE_TASKS = (
    plugin.Task(kind="dose", target="dose", title="dose"),
    plugin.Task(
        kind="separation",
        target="control",
        title="controls",
        where={"control": ("negative", "positive")},
    ),
    plugin.Task(kind="retrieval", target="dose", title="replicates"),
    plugin.Task(kind="knn", target="dose", title="dose level"),
    plugin.Task(kind="probe", target="dose", title="dose level"),
)
_LEVELS = (
    "Columns named after factors hold levels from 0 to 1; zoo.plugins.phantom.FACTORS says what "
    "these are. Doses change places from plate to plate, so that no place on the plate tells them."
)


def _doses(name: str, summary: str, *notes: str) -> plugin.DatasetSpec:
    """Describe a phantom whose biology rises with a dose."""
    return plugin.DatasetSpec(
        name=name,
        builder="zoo.plugins.phantom:open_phantom",
        summary=summary,
        design=plugin.Design(
            label="dose",
            batch="plate",
            group="plate",
            tasks=_DOSE_TASKS,
            perturbation="dose",
            negative={"control": ("negative",)},
            position="well",
            confounders=("row", "column"),
            factors=DATASETS[name].varying,
        ),
        channels=(DATASETS[name].channels, DATASETS[name].channels),
        notes=(*notes, _LEVELS),
        licence="Apache-2.0, generated",
    )


SPECS = (
    _doses(
        "phantom",
        "Synthetic plates: translocation planted as biology; gain, light and density vary",
        "Made by this package: the only biology is the share of the protein that is in the "
        "nucleus; its total, the number of cells and their shape carry no dose.",
        "The effect is strong: pixel statistics see much of it, because protein in the nucleus "
        "is brighter than the same amount spread over the cell.",
        "Plates differ in gain and background of each channel, vignette, brightness, "
        "background, slope of the light and seeding density.",
    ),
    _doses(
        "phantom-shortcut",
        "Synthetic plates without biology: brightness and number of cells rise with the dose",
        "Made by this package: there is no biology. Brightness doubles and cells become two "
        "and a half times as many with the dose; whatever scores here has seen these.",
        "Plates differ in gain and background of each channel, vignette, background and slope "
        "of the light, and not in seeding density, so that counting cells reads the dose.",
    ),
    _doses(
        "phantom-tissue",
        "Synthetic tissue: two types of cells, mixed at the lowest dose and apart at the highest",
        "Made by this package: the only biology is which cell lies beside which. Positions and "
        "shapes of cells, their number, the shares of the types, amounts and brightness "
        "carry no dose.",
        "Types look alike but for one marker each, and cells do not touch: in living tissue "
        "types differ in more, and contact makes more of it visible.",
        "One channel shows the arrangement as well as two, since the other type is where the "
        "marker is not.",
        "Plates differ in gain and background of each channel, vignette and background.",
    ),
    plugin.DatasetSpec(
        name="phantom-factors",
        builder="zoo.plugins.phantom:open_phantom",
        summary="Synthetic plates: eleven factors planted, each varying on its own by well",
        design=plugin.Design(
            label="translocation",
            batch="plate",
            group="plate",
            tasks=tuple(plugin.Task(kind="dose", target=f, title=f) for f in FACTORS),
            position="well",
            confounders=("row", "column"),
            factors=DATASETS["phantom-factors"].varying,
        ),
        channels=(2, 2),
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
    ),
)
