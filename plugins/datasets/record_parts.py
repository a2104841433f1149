"""Tasks, notes and sources that the records of several datasets share."""

from collections.abc import Mapping
from typing import Any, Literal

from zoo import plugin

SAMPLE = {"control": ("sample",)}
LJOSA = (
    "available from the Broad Bioimage Benchmark Collection (Ljosa et al., Nature Methods, 2012)"
)
EACH_ITS_OWN = (
    "each {} is an independent unit, so intervals generalise to other {}s from the same {}, not to "
    "other {}."
)


def classify(
    target: str, title: str, where: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[plugin.Task, ...]:
    """Return the tasks of predicting a class, by nearest neighbours and by a linear probe."""
    kinds: tuple[Literal["knn", "probe"], ...] = ("knn", "probe")
    return tuple(plugin.Task(kind=k, target=target, title=title, where=where or {}) for k in kinds)


def retrieval(target: str, title: str, where: dict[str, Any]) -> plugin.Task:
    """Return the task of retrieving items with the same value."""
    return plugin.Task(kind="retrieval", target=target, title=title, where=where)
