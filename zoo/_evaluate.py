"""Evaluate an encoder: embed once, then score it and its controls in the same way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from threadpoolctl import threadpool_limits

from zoo.registry import Design, registry

from ._data.dataset import Dataset, Precomputed
from ._data.design import design_of, with_design
from ._data.sources import load_dataset, open_images
from ._embedding.cache import EmbeddingCache
from ._embedding.embeddings import Embeddings
from ._encoders.inputs import Images
from ._encoders.progress import Progress
from ._evaluation.contenders import Subject, embed_contenders
from ._evaluation.custom_metrics import Metric, metric_name, metric_row
from ._evaluation.findings import Diagnostic
from ._evaluation.leaks import fairness_warnings
from ._evaluation.margins import margins_with
from ._evaluation.precomputed import name_of
from ._evaluation.scoring import score, without_copies
from ._evaluation.tasks import pose_tasks
from ._evaluation.traps import copies_across_groups, copies_warning, determined_by
from ._evaluation.verdict import FEWEST_PERMUTATIONS
from ._result import Result

Suite = Literal["scores", "full"]
Source = str | Path | Dataset | Images


def evaluate(
    encoder: Subject,
    dataset: Source | None = None,
    *,
    data: str | Path | None = None,
    label: str | None = None,
    group: str | None = None,
    batch: str | None = None,
    design: Design | None = None,
    suite: Suite = "scores",
    metrics: Sequence[Metric] = (),
    pairs: pd.DataFrame | None = None,
    controls: Sequence[str] | None = None,
    control_seeds: int | None = None,
    permutations: int | None = None,
    margins: Mapping[str, float] | None = None,
    seed: int = 0,
    cache: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Score an encoder and compare it with chance and with controls, with a verdict per score.

    Parameters
    ----------
    encoder
        A name, a loaded encoder, embeddings of the dataset's items made elsewhere, or
        ``"precomputed:NAME"`` for embeddings that come with the dataset.
    dataset
        A name, a `Dataset`, or a table or folder of your own images, as for `embed`. If `encoder`
        is embeddings, None uses their own metadata; without images the only controls are noise.
    data
        Folder of a dataset given by name, if it is not in the default place.
    label, group, batch
        Columns of biology, of the independent unit (plate, well, patient) that folds and bootstrap
        never split, and of a nuisance. Required for your own images; for a dataset with a design
        they replace its columns.
    design
        Columns and tasks together, instead of columns.
    suite
        ``"scores"`` for scores and verdicts; ``"full"`` adds more controls and all diagnostics.
    metrics
        Further scores: functions of `Embeddings` that return a number, higher for better. Their
        confidence interval comes from the jackknife over groups, and chance from permuting the
        label within groups.
    pairs
        Pairs of perturbations known to be related, a table of two columns, for the full suite.
    controls
        Names of controls; by default degenerate, statistical, structural and untrained ones. The
        untrained twin of a trained encoder is added unless `control_seeds` is 0. All get the
        images after the encoder's preprocessing.
    control_seeds
        Random seeds of the untrained twin and of noise, whose scores are averaged; by default 1 of
        the twin, or 5 in the full suite, and 5 of noise. Scores of twins differ with the seed, at
        times as much as with the sample.
    permutations
        Label permutations behind chance; by default 19 to 199, fewer for many items and classes.
    margins
        Differences that do not matter, by metric, in its units: an encoder is no better than a
        control if it is better by less than that. By default 0.1 for balanced accuracy, Spearman ρ
        and R², and 0.05 for mAP and ROC AUC; metrics of your own have none.
    seed
        Random seed of the bootstrap and of the diagnostics.
    cache
        Whether to cache embeddings on disk, by content.
    progress
        Called with the name of the current step, the number of items done, and their total.

    Raises
    ------
    EvaluationError
        When a task cannot be scored: one class, one group, nothing to retrieve.
    ZooError
        When an encoder cannot be loaded or an image cannot be read; nothing is skipped silently.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> treated = np.tile([0, 1], 12)
    >>> table = pd.DataFrame({"treated": treated, "plate": np.repeat(list("ABCDEF"), 4)})
    >>> rng = np.random.default_rng(0)
    >>> pixels = rng.poisson(20 + 9 * treated[:, None, None, None], (24, 1, 32, 32))
    >>> mine = zoo.Dataset("mine", table, lambda i: zoo.Image(pixels[i].astype(np.uint8)))
    >>> result = zoo.evaluate(
    ...     "pixel-statistics", mine, label="treated", group="plate", controls=["constant"]
    ... )
    >>> len(result.rows), result.dataset.design.group
    (4, 'plate')
    """
    if suite not in ("scores", "full"):
        raise ValueError(f"suite is {suite!r}, but must be 'scores' or 'full'")
    if pairs is not None and suite != "full":
        raise ValueError("pairs= is used by the full suite only: add suite='full'")
    if pairs is not None and pairs.shape[1] != 2:
        raise ValueError(f"pairs must be two columns, but there are {pairs.shape[1]}")
    if permutations is not None and permutations < FEWEST_PERMUTATIONS:
        raise ValueError(
            f"permutations is {permutations}, but must be at least {FEWEST_PERMUTATIONS}"
        )
    names = tuple(metric_name(f) for f in metrics)
    margins = margins_with(margins, names)
    opened = _open(encoder, dataset, data)
    opened = with_design(opened, design, label=label, group=group, batch=batch)
    asked = design_of(opened)
    questions = pose_tasks(opened)
    contenders, skipped = embed_contenders(
        encoder,
        opened,
        controls=controls,
        full=suite == "full",
        seeds=control_seeds,
        cache=EmbeddingCache() if cache else None,
        progress=progress,
    )
    subject = next(iter(contenders))
    table = contenders[subject].embeddings[0].metadata
    groups = table[asked.group].astype(str).to_numpy()
    copies = copies_across_groups(contenders, groups, images=opened.read is not None)
    options: dict[str, Any] = {"margins": margins, "permutations": permutations}
    rows = score(questions, contenders, seed, **options)
    rows = without_copies(rows, copies, opened, contenders, seed, **options)
    # The matrices are small: threads of the linear algebra would compete with torch's for cores.
    with threadpool_limits(1):
        rows += [metric_row(f, asked, contenders, seed, margins=margins) for f in metrics]
    warnings = fairness_warnings(contenders, opened)
    if copies:
        warnings += (copies_warning(copies, asked.group),)
    diagnostics: tuple[Diagnostic, ...] = ()
    if suite == "full":
        # Imported here because all diagnostics are slow to import.
        from ._diagnostics.study import Study
        from ._diagnostics.suite import diagnose

        study = Study(opened, asked, tuple(questions), contenders, seed, cache, progress, pairs)
        diagnostics = diagnose(study)
    return Result(
        encoder=subject,
        dataset=opened,
        rows=tuple(rows),
        embeddings=contenders[subject].embeddings[0],
        contenders={
            name: (c.spec, [e.provenance for e in c.embeddings]) for name, c in contenders.items()
        },
        diagnostics=diagnostics,
        skipped_controls=skipped,
        warnings=warnings,
        determined_by=determined_by(table, asked),
    )


def _open(encoder: Subject, dataset: Source | None, data: str | Path | None) -> Dataset:
    """Open a dataset by name, or images; names of the registry come first."""
    if isinstance(dataset, str) and dataset in registry().datasets:
        return load_dataset(dataset, data)
    if data is not None:
        raise ValueError("data= is the folder of a dataset given by name")
    if dataset is None:
        if not isinstance(encoder, Embeddings):
            raise ValueError("name a dataset: only embeddings have a table of their own")
        return _own_table(encoder)
    if isinstance(dataset, Dataset):
        return dataset
    if isinstance(dataset, str) and not Path(dataset).expanduser().exists():
        return load_dataset(dataset)  # raises with near names
    return open_images(dataset)


def _own_table(embeddings: Embeddings) -> Dataset:
    """Make a dataset without images from embeddings and their metadata."""
    name = name_of(embeddings).removeprefix("precomputed:")
    own = Precomputed("Embeddings made elsewhere", lambda: embeddings.matrix)
    table = embeddings.metadata.reset_index(drop=True)
    title = str(embeddings.provenance.get("dataset", name))
    return Dataset(title, table, None, None, {name: own})
