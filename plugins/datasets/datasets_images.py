"""Cards of image sets that others publish."""

from collections.abc import Iterable, Mapping
from typing import Literal

import zoo

_LJOSA = (
    "available from the Broad Bioimage Benchmark Collection (Ljosa et al., Nature Methods, 2012)"
)
_YANG = "Yang et al., MedMNIST v2, Scientific Data, 2023"
_SAMPLE = {"control": ("sample",)}
_EACH_ITS_OWN = (
    "each {} is its own independent unit, and intervals speak of other {}s from the same {}, not "
    "of other {}."
)


@zoo.hookimpl
def zoo_datasets() -> Iterable[zoo.DatasetSpec]:
    """Give their records."""
    yield zoo.DatasetSpec(
        name="dsb2018",
        builder="zoo.plugins.datasets.dsb2018:open_nuclei",
        summary="Nuclei in fluorescence and transmitted light, 1 or 3 channels, with masks",
        label="modality",
        batch="source",
        group="image",
        channels=(1, 3),
        tasks=(
            *_classify("modality", "modality"),
            zoo.Task(kind="dose", target="nuclei", title="nucleus count"),
            zoo.Task(
                kind="dose",
                target="nuclei",
                title="nucleus count in fluorescence",
                where={"modality": ("fluorescence",)},
            ),
            zoo.Task(kind="dose", target="nuclear_area", title="nuclear area"),
        ),
        domains=("source",),
        confounders=("height", "width"),
        notes=(
            "The experiments that images come from are not recorded: "
            + _EACH_ITS_OWN.format("image", "image", "experiments", "laboratories"),
            "Images of one modality and size (source) are often crops of the same experiment, and "
            "lie in different folds. Leaving a source out shows how far a score carries.",
            "Modality follows from the source, and largely from size and number of channels: it is "
            "read off pixel statistics, and says little about an encoder.",
            "Count and area are taken from the masks. A control that is given the masks knows "
            "these answers: there it is a ceiling to come near to, not a baseline to beat.",
            "Nuclei are counted on the whole image; an encoder that crops it sees fewer.",
            "In the official archive, modality is told from pixels and masks: colour is stained "
            "tissue, and grey nuclei darker than the rest are seen in transmitted light.",
        ),
        licence="CC0",
        citation=(f"Caicedo et al., Nature Methods, 2019; image set BBBC038v1, {_LJOSA}"),
    )
    yield zoo.DatasetSpec(
        name="he_crcval",
        builder="zoo.plugins.datasets.he_crcval:open_tiles",
        summary="Tiles of colorectal cancer and normal tissue in nine classes, H&E, 0.5 µm",
        label="tissue",
        group="image",
        channels=(3, 3),
        tasks=(
            *_classify("tissue", "tissue"),
            zoo.Task(kind="retrieval", target="tissue", title="tissue"),
        ),
        notes=(
            "Names of tiles do not tell the patient: "
            + _EACH_ITS_OWN.format("tile", "tile", "50 patients", "patients or hospitals"),
            "Tiles of one slide lie in different folds, so an encoder that recognises the stain of "
            "a slide scores well.",
            "Colour alone tells many of these classes apart: read the gap to the pixel statistics "
            "first.",
        ),
        licence="CC BY 4.0",
        citation=(
            "Kather, Halama and Marx, 100,000 histological images of human colorectal cancer and "
            "healthy tissue, Zenodo 1214456, 2018"
        ),
    )
    yield zoo.DatasetSpec(
        name="bbbc021",
        builder="zoo.plugins.datasets.bbbc021:open_fields",
        summary="MCF-7 cells, 38 compounds, twelve mechanisms, 3 channels; give plates with --data",
        label="moa",
        batch="plate",
        group="compound",
        channels=(3, 3),
        tasks=(
            *_classify("moa", "mechanism", _SAMPLE),
            zoo.Task(kind="retrieval", target="moa", title="mechanism", where=_SAMPLE),
        ),
        perturbation="treatment",
        negative={"control": ("negative",)},
        position="well",
        domains=("week",),
        confounders=("row", "column"),
        notes=(
            "Compounds are the independent units: a mechanism is only ever recognised from other "
            "compounds (not the same compound), and one with a single compound is left out.",
            "Many mechanisms were imaged in few weeks, with their compounds side by side: week and "
            "mechanism are confounded, and leaving a week out shows by how much.",
            "Only some concentrations have an annotated mechanism; the others take part in nothing "
            "that asks for it.",
            "Items are fields, several to a well. The usual benchmark averages them over wells and "
            "replicates to treatments, so its accuracies are not comparable.",
            "Mechanisms were annotated partly by eye from these images, and some change the number "
            "of cells strongly: read the gap to object density.",
        ),
        licence="see https://bbbc.broadinstitute.org/BBBC021",
        citation=(
            "Image set BBBC021v1 (Caie et al., Molecular Cancer Therapeutics, 2010), " + _LJOSA
        ),
    )
    yield zoo.DatasetSpec(
        name="bbbc022",
        builder="zoo.plugins.datasets.bbbc022:open_fields",
        summary="U2OS cells, Cell Painting, 1600 compounds, 5 channels; give plates with --data",
        label="compound",
        batch="plate",
        group="plate",
        channels=(5, 5),
        tasks=(
            zoo.Task(kind="retrieval", target="compound", title="replicates", where=_SAMPLE),
            zoo.Task(kind="separation", target="control", title="treated or not"),
        ),
        perturbation="compound",
        negative={"control": ("negative",)},
        position="well",
        confounders=("row", "column"),
        notes=(
            "Replicates are sought on other plates only.",
            "A compound that has the same well on every plate cannot be told from its position: "
            "what is left of retrieval when the same position is barred shows how much that was.",
            "Most compounds hardly change the cells, so retrieval is low for every encoder, and "
            "treated or not is a question about the active ones only.",
            "Untreated wells have fixed places on the plate; an encoder may see the place.",
        ),
        licence="see https://bbbc.broadinstitute.org/BBBC022",
        citation="Image set BBBC022v1 (Gustafsdottir et al., PLOS ONE, 2013), " + _LJOSA,
    )
    yield zoo.DatasetSpec(
        name="bbbc048",
        builder="zoo.plugins.datasets.bbbc048:open_cells",
        summary="Single Jurkat cells, phases of the cell cycle, 3 channels; give them with --data",
        label="phase",
        group="cell",
        channels=(3, 3),
        tasks=(
            *_classify("phase", "phase"),
            zoo.Task(
                kind="probe",
                target="phase",
                title="phase of mitosis",
                where={"stage": ("mitosis",)},
            ),
        ),
        notes=(
            "Neither day nor culture of a cell is recorded: "
            + _EACH_ITS_OWN.format("cell", "cell", "measurement", "days or instruments"),
            "Phases were assigned by the fluorescence of stains, with propidium iodide among them, "
            "which is a channel here: its total alone tells G1, S and G2 nearly apart, and pixel "
            "statistics see it.",
            "Anaphase and telophase have very few cells, and count as much as the others in "
            "balanced accuracy.",
        ),
        licence="see https://bbbc.broadinstitute.org/BBBC048",
        citation=(
            "Blasi et al., Nature Communications, 2016; Eulenberg et al., Nature Communications, "
            f"2017; image set BBBC048v1, {_LJOSA}"
        ),
    )
    yield zoo.DatasetSpec(
        name="bloodmnist",
        builder="zoo.plugins.datasets.medmnist:open_cells",
        summary="Blood cells in eight classes, colour, 28 pixels (larger ones with --data)",
        label="cell_type",
        group="image",
        channels=(3, 3),
        tasks=(
            *_classify("cell_type", "cell type"),
            zoo.Task(kind="retrieval", target="cell_type", title="cell type"),
        ),
        notes=(
            "Donors are not recorded: "
            + _EACH_ITS_OWN.format("image", "image", "donors", "donors"),
            "The official splits are random parts of the same images, no groups: all three take "
            "part, and the column split tells them apart.",
            "Cells of all types are scaled down alike, so size, and with colour, tells much.",
        ),
        licence="CC BY 4.0",
        citation=f"{_YANG}; Acevedo et al., Data in Brief, 2020",
    )
    yield zoo.DatasetSpec(
        name="tissuemnist",
        builder="zoo.plugins.datasets.medmnist:open_cells",
        summary="Nuclei of human kidney cortex in eight classes, 28 pixels (larger with --data)",
        label="cell_type",
        group="image",
        channels=(1, 1),
        tasks=(
            *_classify("cell_type", "cell type"),
            zoo.Task(kind="retrieval", target="cell_type", title="cell type"),
        ),
        notes=(
            "The nuclei come from three specimens, which are not recorded: "
            + _EACH_ITS_OWN.format("image", "image", "three specimens", "people"),
            "The official splits are random parts of the same images, no groups: all three take "
            "part, and the column split tells them apart.",
            "Neighbours in the tissue share type, focus and background, and lie in different "
            "folds.",
            "Each image is a maximum over a small stack, resized.",
        ),
        licence="CC BY 4.0",
        citation=(
            f"{_YANG}; Woloshuk et al., Cytometry Part A, 2021; image set BBBC051v1, {_LJOSA}"
        ),
    )


def _classify(
    target: str, title: str, where: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[zoo.Task, ...]:
    """By neighbours and by a linear probe."""
    kinds: tuple[Literal["knn", "probe"], ...] = ("knn", "probe")
    return tuple(zoo.Task(kind=k, target=target, title=title, where=where or {}) for k in kinds)
