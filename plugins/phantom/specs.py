"""Records of the registered phantoms: the factors planted in each, and its tasks."""

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
        title="positive controls",
        where={"control": ("negative", "positive")},
    ),
    plugin.Task(kind="retrieval", target="dose", title="replicates"),
    plugin.Task(kind="knn", target="dose", title="dose level"),
    plugin.Task(kind="probe", target="dose", title="dose level"),
)
_LEVELS = (
    "Columns named after factors hold levels from 0 to 1; zoo.plugins.phantom.FACTORS defines "
    "them. Doses are randomised on each plate, so that position on the plate does not predict them."
)


def _doses(name: str, summary: str, *notes: str) -> plugin.DatasetSpec:
    """Describe a phantom with factors that rise with a dose."""
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
        "nucleus; its total, the number of cells and their shape do not depend on the dose.",
        "The effect is strong: pixel statistics capture much of it, because protein in the nucleus "
        "is brighter than the same amount spread over the cell.",
        "Plates differ in gain and background of each channel, vignette, brightness, "
        "background, slope of the light and seeding density.",
    ),
    _doses(
        "phantom-shortcut",
        "Synthetic plates without biology: brightness and number of cells rise with the dose",
        "Made by this package: there is no biology. Brightness doubles and the number of cells "
        "grows 2.5-fold with the dose; any score above chance comes from these.",
        "Plates differ in gain and background of each channel, vignette, background and slope "
        "of the light, and not in seeding density, so that the number of cells predicts the dose.",
    ),
    _doses(
        "phantom-tissue",
        "Synthetic tissue: two cell types, mixed at the lowest dose, separated at the highest",
        "Made by this package: the only biology is the spatial arrangement of cell types. "
        "Positions and shapes of cells, their number, the shares of the types, amounts and "
        "brightness do not depend on the dose.",
        "Types differ only in one marker each, and cells do not touch: in real tissue types differ "
        "in more, and contact makes more of it visible.",
        "One marker channel shows the arrangement as well as two, since cells without the marker "
        "are of the other type.",
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
            "No factor can be predicted perfectly from one field: few cells determine a share, a "
            "shape or a number only roughly, and cells of type B differ only by smaller nuclei.",
            "Arrangement is planted in some twenty cells of a field, too few to measure it well; "
            "phantom-tissue shows it better.",
            "Blur hides granules, so texture is visible only in focus.",
            "Position is that of a well on its plate: most wells of a small plate lie near an "
            "edge. It removes cells and adds stray light from one side, so it correlates with the "
            "number of cells and with the background of the images.",
            _LEVELS,
        ),
        licence="Apache-2.0, generated",
    ),
)
