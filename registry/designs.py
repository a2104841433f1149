"""Tasks and designs of evaluations, and the records of datasets, which have one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .field_checks import (
    NAME,
    check_choice,
    check_line,
    check_range,
    check_target,
    check_type,
    check_words,
)

TaskKind = Literal["dose", "separation", "retrieval", "knn", "probe"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of an evaluation.

    Parameters
    ----------
    kind
        ``"dose"`` (ordinal regression), ``"separation"`` (two control classes), ``"retrieval"``
        (of items with the same value), ``"knn"`` and ``"probe"`` (classification).
    target
        Metadata column with the true values.
    title
        Title in tables.
    where
        Items to use: column → accepted values; empty for all.

    Examples
    --------
    >>> zoo.Task(kind="separation", target="dose", title="0 against 4", where={"dose": (0, 4)}).kind
    'separation'
    """

    kind: TaskKind
    target: str
    title: str
    where: Mapping[str, tuple[str | int | float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("task kind", self.kind, ("dose", "separation", "retrieval", "knn", "probe"))


@dataclass(frozen=True, kw_only=True)
class Design:
    """Columns of biology, nuisance and independent units, and the tasks of an evaluation.

    Parameters
    ----------
    label
        Column of biology.
    group
        Column of the independent unit, such as plate, well or patient, that folds and bootstrap
        never split.
    tasks
        Tasks; empty for default tasks, chosen by the values of `label`.
    batch
        Column of a nuisance.
    perturbation
        Column whose equal values are replicates, if finer than `label`.
    negative
        Negative controls: column → accepted values. Alignment is fitted on them.
    position
        Column of the well position, a shortcut if replicates share it.
    domains
        Columns for leave-one-value-out generalisation, such as batch or cell line.
    confounders
        Columns of confounders, numeric or categorical.
    factors
        Columns of planted factors of synthetic data, numbers in [0, 1].

    Examples
    --------
    >>> zoo.Design(label="compound", group="plate", batch="site").columns
    ('compound', 'plate', 'site')
    """

    label: str
    group: str
    tasks: tuple[Task, ...] = ()
    batch: str | None = None
    perturbation: str | None = None
    negative: Mapping[str, tuple[str | int | float, ...]] = field(default_factory=dict)
    position: str | None = None
    domains: tuple[str, ...] = ()
    confounders: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the design, without repeats."""
        named = [self.label, self.group, self.batch, self.perturbation, self.position]
        named += [*self.negative, *self.domains, *self.confounders, *self.factors]
        for task in self.tasks:
            named += [task.target, *task.where]
        return tuple(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """The record of a dataset.

    Parameters
    ----------
    name
        What users type.
    builder
        ``"module:callable"``, called as ``callable(spec, path=Path or None)``; returns a
        `zoo.Dataset`.
    summary
        One line.
    design
        Columns of biology, nuisance and independent unit, and the tasks.
    channels
        Smallest and largest number of channels.
    notes
        Caveats for the interpretation of scores, such as built-in confounders.
    licence, citation
        Terms and what to cite.
    """

    name: str
    builder: str
    summary: str
    design: Design
    channels: tuple[int, int] = (1, 1)
    notes: tuple[str, ...] = ()
    licence: str = "not stated"
    citation: str = ""

    def __post_init__(self) -> None:
        check_line("name of a dataset", self.name)
        for what in ("summary", "licence"):
            check_line(f"{what} of {self.name}", getattr(self, what))
        check_type(f"citation of {self.name}", self.citation, str, "a text")
        check_words(f"notes of {self.name}", self.notes)
        check_type(f"design of {self.name}", self.design, Design, "zoo.plugin.Design(…)")
        check_range(f"channels of {self.name}", self.channels, open_ended=False)
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a dataset name: letters, digits and . _ - only")
        check_target(f"builder of {self.name}", self.builder)
        if not self.design.tasks:
            raise ValueError(f"dataset {self.name} has no tasks: it needs at least one")
