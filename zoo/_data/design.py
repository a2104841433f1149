"""What is asked of a dataset: its own design, or columns that the user names."""

from dataclasses import replace

import pandas as pd

from zoo.registry import Design, EvaluationError, Task

from .dataset import Dataset, check_columns

# Beyond this, values are amounts rather than classes, and only their order is asked for.
MAX_CLASSES = 24


def with_design(
    dataset: Dataset,
    design: Design | None = None,
    *,
    label: str | None = None,
    group: str | None = None,
    batch: str | None = None,
) -> Dataset:
    """Return the dataset with the design that an evaluation shall have.

    Parameters
    ----------
    dataset
        Any; without a design of its own, one must be given.
    design
        In place of the dataset's.
    label, group, batch
        Columns, in place of those of the dataset's design. Another label asks the usual tasks of
        its values; what the dataset says of groups and batches holds unless it is named anew.

    Raises
    ------
    ValueError
        For a design beside columns, and where label or group are neither given nor known.
    DataError
        When a column is missing.
    """
    if design is not None and (label or group or batch):
        raise ValueError("give design=, or label=, group= and batch=, not both")
    own = dataset.design
    if design is None and not (label or group or batch):
        if own is None:
            raise ValueError(_ask_for_columns(dataset))
        design = own
    elif design is None:
        if label is None or group is None:
            if own is None:
                raise ValueError(_ask_for_columns(dataset))
            label, group = label or own.label, group or own.group
        batch = batch or (own.batch if own is not None else None)
        if own is not None and label == own.label:
            design = replace(own, group=group, batch=batch)
        else:
            design = Design(label=label, group=group, batch=batch)
    check_columns(design.columns, dataset.metadata, dataset.name)
    if not design.tasks:
        values = dataset.metadata[design.label]
        design = replace(design, tasks=usual_tasks(values, design.label))
    return replace(dataset, design=design)


def design_of(dataset: Dataset) -> Design:
    """Return the design of a dataset that is known to have one.

    Raises
    ------
    EvaluationError
        Where it has none.
    """
    if dataset.design is None:
        raise EvaluationError(_ask_for_columns(dataset))
    return dataset.design


def usual_tasks(values: pd.Series, label: str) -> tuple[Task, ...]:
    """Ask what the values of a label suggest.

    Three or more numbers are asked for as a dose, two values are separated. Values that are few
    enough to be classes are also asked for by retrieval, neighbours and a linear probe.
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


def _ask_for_columns(dataset: Dataset) -> str:
    columns = ", ".join(map(str, dataset.metadata.columns))
    return (
        f"{dataset.name} does not say what is asked of it: name with label= and group= (--label, "
        f"--group) the columns of biology and of the independent unit; it has {columns}"
    )
