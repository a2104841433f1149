"""The design of an evaluation: the dataset's own, or columns that the user names."""

from dataclasses import replace

import pandas as pd

from zoo.registry import Design, EvaluationError, Task

from .dataset import Dataset, check_columns
from .tables import METADATA, has_only_numbers

# More distinct numbers than this are not classes: only the dose task is run on them.
MAX_CLASSES = 24


def with_design(
    dataset: Dataset,
    design: Design | None = None,
    *,
    label: str | None = None,
    group: str | None = None,
    batch: str | None = None,
) -> Dataset:
    """Return the dataset with the design of the evaluation.

    Parameters
    ----------
    dataset
        Any dataset.
    design
        Replaces the dataset's own.
    label, group, batch
        Columns that replace those of the dataset's design. A new label gets the default tasks for
        its values; the dataset's group and batch stay unless given.

    Raises
    ------
    ValueError
        For a design together with columns, or without a label or group.
    DataError
        When a column is missing.
    """
    if design is not None and (label or group or batch):
        raise ValueError("give design=, or label=, group= and batch=, not both")
    own = dataset.design
    if design is None and not (label or group or batch):
        if own is None:
            raise ValueError(_no_design(dataset))
        design = own
    elif design is None:
        if label is None or group is None:
            if own is None:
                raise ValueError(_no_design(dataset))
            label, group = label or own.label, group or own.group
        batch = batch or (own.batch if own is not None else None)
        if own is not None and label == own.label:
            design = replace(own, group=group, batch=batch)
        else:
            design = Design(label=label, group=group, batch=batch)
    check_columns(design.columns, dataset.metadata, dataset.name)
    if not design.tasks:
        dataset = _with_numbers(dataset, design.label)
        values = dataset.metadata[design.label]
        design = replace(design, tasks=default_tasks(values, design.label))
    return replace(dataset, design=design)


def design_of(dataset: Dataset) -> Design:
    """Return the design of a dataset.

    Raises
    ------
    EvaluationError
        If it has none.
    """
    if dataset.design is None:
        raise EvaluationError(_no_design(dataset))
    return dataset.design


def default_tasks(values: pd.Series, label: str) -> tuple[Task, ...]:
    """Choose tasks by the values of a label.

    Dose for three or more numbers, separation for two values; retrieval, k-NN and linear probe
    unless there are more numbers than `MAX_CLASSES`.
    """
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


def _with_numbers(dataset: Dataset, label: str) -> Dataset:
    """Return the dataset with a label of ``Metadata_*`` that spells numbers as numbers."""
    values = dataset.metadata[label]
    if not label.startswith(METADATA) or pd.api.types.is_numeric_dtype(values):
        return dataset
    if values.isna().all() or not has_only_numbers(values):
        return dataset
    if values.dropna().astype(str).str.match(r"0\d").any():
        return dataset
    return replace(dataset, metadata=dataset.metadata.assign(**{label: pd.to_numeric(values)}))


def _no_design(dataset: Dataset) -> str:
    columns = ", ".join(map(str, dataset.metadata.columns))
    return (
        f"{dataset.name} has no evaluation design: name its columns of biology and of the "
        f"independent unit with label= and group= (--label, --group); it has {columns}"
    )
