"""The input of all diagnostics."""

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
from .._evaluation.contenders import Contender
from .._evaluation.findings import Finding
from .._evaluation.intervals import estimate, resamples
from .._evaluation.tasks import Question, Score

Matrix = NDArray[np.float32]

# Fewer resamples than for scores, because a diagnostic computes hundreds of intervals.
QUICK_DRAWS = 200

FITTED = ("dose", "separation", "knn", "probe")  # tasks with a fitted readout


@dataclass(frozen=True)
class Study:
    """A dataset with its design, and the embeddings of all contenders.

    Parameters
    ----------
    dataset, design, questions
        The data, its design, and its tasks with their items.
    contenders
        By name, the encoder under test first.
    seed
        Random seed.
    cache
        Whether to cache further embeddings on disk.
    progress
        Called with the name of the current step, the number of items done, and their total.
    pairs
        Pairs of perturbations known to be related, two columns.
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
        """The encoder under test; None if its embeddings were made elsewhere."""
        encoders = self.contenders[self.subject].encoders
        return encoders[0] if encoders else None

    @property
    def twin(self) -> str | None:
        """Name of the untrained twin among the contenders."""
        twin = self.contenders[self.subject].spec.twin
        return twin if twin in self.contenders else None

    @property
    def metadata(self) -> pd.DataFrame:
        """The metadata, one row for each row of the matrices."""
        return self.contenders[self.subject].embeddings[0].metadata

    @property
    def matrices(self) -> dict[str, Matrix]:
        """First embedding of each contender by name, except noise."""
        return {
            name: c.embeddings[0].matrix
            for name, c in self.contenders.items()
            if c.spec.control != "degenerate" or name == self.subject
        }

    @property
    def batch(self) -> str:
        """Column of the batch, or of the independent unit if there is none."""
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
        """Mask of the negative controls; all False if the design names none."""
        chosen = np.full(len(self.metadata), bool(self.design.negative))
        for column, values in self.design.negative.items():
            chosen &= self.metadata[column].isin(values).to_numpy()
        return chosen

    def report(self, what: str, done: int, total: int) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, done, total)


def title(question: Question, score: Score) -> str:
    """Title of a task and name of its metric, as one phrase."""
    return f"{question.task.title}, {score.metric}"


def scored(
    question: Question,
    scores: list[Score],
    *,
    encoder: str,
    condition: str = "",
    seed: int = 0,
    items: NDArray[np.intp] | None = None,
    **more: Any,
) -> Finding:
    """Record a score, averaged over seeds, with its confidence interval over groups.

    `items` are the tested positions among the question's items, by default all.
    """
    tested = np.arange(len(question.items)) if items is None else items
    groups = question.groups[tested]
    draws = [tested[draw] for draw in resamples(groups, seed=seed, draws=QUICK_DRAWS)]
    found = estimate(scores, question.groups, draws, tested)
    return Finding(
        encoder=encoder,
        quantity=title(question, scores[0]),
        condition=condition,
        value=found.value,
        low=found.low,
        high=found.high,
        n_items=len(tested),
        n_groups=len(np.unique(groups)),
        **{"seeds": len(scores), "fitted_on": "training folds", **more},
    )
