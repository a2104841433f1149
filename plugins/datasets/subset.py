"""Tasks that a part of a dataset can answer."""

from dataclasses import replace
from typing import Any

from zoo import plugin


def askable(spec: plugin.DatasetSpec, table: Any) -> plugin.DatasetSpec:
    """Return a record without the tasks that the files at hand cannot answer, with a note on each.

    A record that would keep no task is returned unchanged, and evaluation reports the problem.

    Parameters
    ----------
    spec
        Record of the whole dataset.
    table
        Metadata of the items at hand, a data frame.
    """
    kept: list[plugin.Task] = []
    left_out: list[plugin.Task] = []
    for task in spec.design.tasks:
        chosen = table.dropna(subset=[task.target, spec.design.group])
        for column, values in task.where.items():
            chosen = chosen[chosen[column].isin(values)]
        units = chosen.groupby(task.target)[spec.design.group].nunique()
        separate = task.kind in ("knn", "probe", "retrieval")
        enough = int((units > 1).sum() if separate else len(units)) > 1
        (kept if enough else left_out).append(task)
    if not kept or not left_out:
        return spec
    notes = [
        f"{task.title} ({task.kind}) is left out: it needs two values of {task.target}"
        + (f" in two {spec.design.group}s each" if task.kind != "dose" else "")
        + ", which the files here do not have."
        for task in left_out
    ]
    design = replace(spec.design, tasks=tuple(kept))
    return replace(spec, design=design, notes=(*spec.notes, *notes))
