"""Ask the usual questions of a table of one's own."""

from dataclasses import replace

import pandas as pd

from zoo.registry import DataError, DatasetSpec, Task, near

from .dataset import Dataset

# Beyond this, values are amounts rather than classes, and only their order is asked for.
MAX_CLASSES = 24


def label_dataset(dataset: Dataset, *, label: str, group: str, batch: str | None = None) -> Dataset:
    """Say which column is biology, which is the independent unit, and which is nuisance.

    A column of three or more numbers is asked for as a dose. Values that are few enough to be
    classes are also asked for by retrieval, neighbours and a linear probe.

    Parameters
    ----------
    dataset
        As `open_images` gives it. Each image is read once to count its channels.
    label, group, batch
        Columns of its table; `group` is what folds and bootstrap never split, such as the plate,
        the well or the patient.

    Raises
    ------
    DataError
        When a column is missing, or an image cannot be read.
    """
    columns = [str(c) for c in dataset.metadata.columns]
    for option, column in (("label", label), ("group", group), ("batch", batch)):
        if column is not None and column not in columns:
            raise DataError(
                f"{dataset.name} has no column {column!r} for the {option}; "
                f"it has {', '.join(columns)}.{near(column, columns)}"
            )
    counts = [1]
    if dataset.read is not None:
        counts = [len(dataset[i].pixels) for i in range(len(dataset))]
    what = "images" if dataset.read is not None else "embeddings"
    spec = DatasetSpec(
        name="table",
        builder="zoo._data.sources:open_images",
        summary=f"{len(dataset)} {what} of your own, {label} by {group}",
        label=label,
        group=group,
        batch=batch,
        tasks=_tasks(dataset.metadata[label], label),
        channels=(min(counts), max(counts)),
        licence="your own",
    )
    return replace(dataset, spec=spec)


def _tasks(values: pd.Series, label: str) -> tuple[Task, ...]:
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    classes = values.nunique()
    kinds: list[Task] = []
    if numeric and classes > 2:
        kinds.append(Task(kind="dose", target=label, title=label))
    if classes == 2:
        kinds.append(Task(kind="separation", target=label, title=label))
    if classes <= MAX_CLASSES or not numeric:
        for kind in ("retrieval", "knn", "probe"):
            kinds.append(Task(kind=kind, target=label, title=label))
    return tuple(kinds)
