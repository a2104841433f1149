"""Everything that a diagnostic may look at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import Design

from .._data.dataset import Dataset
from .._encoders.contract import Encoder
from .._evaluation.bootstrap import interval, resamples
from .._evaluation.contenders import Contender
from .._evaluation.findings import Finding
from .._evaluation.tasks import Question, Score

Matrix = NDArray[np.float32]

# Of the resamples that the scores have; a diagnostic asks for hundreds of intervals.
QUICK_DRAWS = 200

FITTED = ("dose", "separation", "knn", "probe")  # tasks whose answers come from a fitted readout


@dataclass(frozen=True)
class Study:
    """A dataset, what is asked of it, and everybody's embeddings.

    Parameters
    ----------
    dataset, design, questions
        The data, what is asked of it, and its tasks as posed to its table.
    contenders
        By name, the encoder under test first.
    seed
        Of everything random.
    cache
        Whether further embeddings are kept on disk.
    progress
        Called with what is being done, and how much of it is done of how much in all.
    pairs
        Perturbations that are known to be related, two columns.
    """

    dataset: Dataset
    design: Design
    questions: tuple[Question, ...]
    contenders: Mapping[str, Contender]
    seed: int = 0
    cache: bool = True
    progress: Callable[[str, int, int], object] | None = None
    pairs: pd.DataFrame | None = None

    @property
    def subject(self) -> str:
        """Name of the encoder under test."""
        return next(iter(self.contenders))

    @property
    def encoder(self) -> Encoder | None:
        """The encoder under test, unless its embeddings came from elsewhere."""
        encoders = self.contenders[self.subject].encoders
        return encoders[0] if encoders else None

    @property
    def twin(self) -> str | None:
        """Name of the untrained twin among the contenders."""
        twin = self.contenders[self.subject].spec.twin
        return twin if twin in self.contenders else None

    @property
    def metadata(self) -> pd.DataFrame:
        """The table, one row for each row of the matrices."""
        return self.contenders[self.subject].embeddings[0].metadata

    @property
    def matrices(self) -> dict[str, Matrix]:
        """First embedding of each contender that is no noise, by name."""
        return {
            name: c.embeddings[0].matrix
            for name, c in self.contenders.items()
            if c.spec.control != "degenerate" or name == self.subject
        }

    @property
    def batch(self) -> str:
        """Column of the nuisance, or of the independent unit where no other is known."""
        return self.design.batch or self.design.group

    @property
    def perturbation(self) -> str:
        """Column whose equal values are replicates."""
        return self.design.perturbation or self.design.label

    @cached_property
    def groups(self) -> NDArray[Any]:
        """Independent unit of each item, as text."""
        return self.metadata[self.design.group].astype(str).to_numpy()

    @cached_property
    def negative(self) -> NDArray[np.bool_]:
        """Which items are negative controls; none where the record names none."""
        chosen = np.full(len(self.metadata), bool(self.design.negative))
        for column, values in self.design.negative.items():
            chosen &= self.metadata[column].isin(values).to_numpy()
        return chosen

    def tell(self, what: str, done: int, total: int) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, done, total)


def title(question: Question, score: Score) -> str:
    """Name a task and its metric in one phrase."""
    return f"{question.task.title}, {score.metric}"


def scored(
    question: Question,
    scores: list[Score],
    *,
    contender: str,
    condition: str = "",
    seed: int = 0,
    items: NDArray[np.intp] | None = None,
    **more: Any,
) -> Finding:
    """Record a score, averaged over seeds, with its interval over groups.

    `items` are the positions among the question's that were tested, by default all.
    """
    tested = np.arange(len(question.items)) if items is None else items
    groups = question.groups[tested]
    n_groups = len(np.unique(groups))
    value = float(np.mean([s.at(tested) for s in scores]))
    draws = [tested[draw] for draw in resamples(groups, seed=seed)[:QUICK_DRAWS]]
    drawn = np.mean([[s.at(i) for i in draws] for s in scores], axis=0)
    low, high = interval(value, drawn, n_groups)
    return Finding(
        encoder=contender,
        quantity=title(question, scores[0]),
        condition=condition,
        value=value,
        low=float(np.fmin(low, value)),  # resamples repeat items, and can all lie to one side
        high=float(min(np.fmax(high, value), 1.0)),
        n_items=len(tested),
        n_groups=n_groups,
        **{"seeds": len(scores), "fitted_on": "training folds", **more},
    )
