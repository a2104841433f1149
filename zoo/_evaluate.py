"""Evaluate an encoder: embed once, then score it and every control in the same way."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from threadpoolctl import threadpool_limits

from zoo.registry import EvaluationError, registry

from ._data.dataset import Dataset, Precomputed
from ._data.design import label_dataset
from ._data.sources import load_dataset, open_images
from ._diagnostics.study import Study
from ._embedding.cache import EmbeddingCache
from ._embedding.embeddings import Embeddings
from ._evaluation.contenders import Subject, contend
from ._evaluation.custom_metrics import Metric, metric_row
from ._evaluation.findings import Diagnostic
from ._evaluation.precomputed import name_of
from ._evaluation.scoring import doubts, score
from ._evaluation.tasks import ask
from ._result import Result

TWIN_SEEDS = 5
Suite = Literal["scores", "full"]


def evaluate(
    encoder: Subject,
    dataset: str | Path | Dataset | None = None,
    *,
    data: str | Path | None = None,
    label: str | None = None,
    group: str | None = None,
    batch: str | None = None,
    suite: Suite = "scores",
    metrics: Sequence[Metric] = (),
    pairs: pd.DataFrame | None = None,
    controls: Sequence[str] | None = None,
    twin_seeds: int = TWIN_SEEDS,
    seed: int = 0,
    cache: bool = True,
    progress: Callable[[str, int, int], object] | None = None,
) -> Result:
    """Score an encoder beside chance and beside controls, and say what that allows one to say.

    Parameters
    ----------
    encoder
        A name, a loaded encoder, embeddings of the dataset's items made elsewhere, or
        ``"precomputed:NAME"`` for embeddings that come with the dataset.
    dataset
        A name, a `Dataset` with a spec, or a table or folder of one's own images, as `embed` takes
        it. None takes the table of `encoder`'s own metadata, where that is embeddings: without
        images there are no controls but noise.
    data
        Folder of the dataset, where it is not to be found by itself.
    label, group, batch
        For images of one's own: the columns of biology, of the independent unit (plate, well,
        patient) that folds and bootstrap never split, and of a nuisance.
    suite
        ``"scores"`` for the scores and their verdicts; ``"full"`` adds more controls and every
        diagnostic.
    metrics
        Further scores: functions of `Embeddings` that return a number, higher for better. Their
        interval resamples influences of leaving a group out, and chance comes from permuting the
        label within groups.
    pairs
        Perturbations that are known to be related, a table of two columns, for the full suite.
    controls
        Names of controls; by default degenerate, statistical, structural and untrained ones. The
        untrained twin of a trained encoder is added unless `twin_seeds` is 0. All see the images
        as the encoder does, after the encoder's preprocessing.
    twin_seeds
        Random draws of the twin and of noise; their mean counts.
    seed
        Of the bootstrap and of everything random in the diagnostics.
    cache
        Whether embeddings are kept on disk, by content.
    progress
        Called with what is being done, and how much of it is done of how much in all.

    Raises
    ------
    EvaluationError
        When a task cannot be asked honestly: one class, one group, nothing to retrieve.
    ZooError
        When an encoder cannot be loaded or an image not be read; nothing is skipped silently.
    """
    if suite not in ("scores", "full"):
        raise ValueError(f"suite is {suite!r}, but must be 'scores' or 'full'")
    if pairs is not None and suite != "full":
        raise ValueError("pairs= is asked of by the full suite only: add suite='full'")
    if pairs is not None and pairs.shape[1] != 2:
        raise ValueError(f"pairs must be two columns, but there are {pairs.shape[1]}")
    if dataset is None:
        if not isinstance(encoder, Embeddings):
            raise ValueError("name a dataset: only embeddings bring a table of their own")
        dataset = _own_table(encoder, label, group, batch)
        label = group = batch = None
    opened = _open(dataset, data, label, group, batch)
    spec = opened.spec
    if spec is None:
        raise EvaluationError(f"{opened.name} has no spec that says what is asked of it")
    questions = [ask(task, opened.metadata, spec.group) for task in spec.tasks]

    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(f"embedding {opened.name}", done, len(opened))

    kept = EmbeddingCache() if cache else None
    contenders, absent = contend(
        encoder,
        opened,
        controls=controls,
        full=suite == "full",
        twin_seeds=twin_seeds,
        cache=kept,
        progress=tick,
    )
    subject = next(iter(contenders))
    # The matrices are small: threads of the linear algebra would fight torch's for the cores.
    with threadpool_limits(1):
        rows = score(questions, contenders, seed)
        rows += [metric_row(f, spec, contenders, seed) for f in metrics]
    diagnostics: tuple[Diagnostic, ...] = ()
    if suite == "full":
        from ._diagnostics.suite import diagnose  # as heavy as all its questions

        study = Study(opened, spec, tuple(questions), contenders, seed, cache, progress, pairs)
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
        absent=absent,
        doubts=doubts(contenders[subject].embeddings[0], spec.group),
    )


def _own_table(
    embeddings: Embeddings, label: str | None, group: str | None, batch: str | None
) -> Dataset:
    """Make a dataset without images of embeddings and the metadata that came with them."""
    if label is None or group is None:
        raise ValueError(
            "say with label= and group= (--label, --group) which columns are the biology and the "
            f"independent unit; there are {', '.join(map(str, embeddings.metadata.columns))}"
        )
    name = name_of(embeddings).removeprefix("precomputed:")
    own = Precomputed("Embeddings made elsewhere", lambda: embeddings.matrix)
    table = embeddings.metadata.reset_index(drop=True)
    title = str(embeddings.provenance.get("dataset", name))
    source = Dataset(title, table, None, None, {name: own})
    return label_dataset(source, label=label, group=group, batch=batch)


def _open(
    dataset: str | Path | Dataset,
    data: str | Path | None,
    label: str | None,
    group: str | None,
    batch: str | None,
) -> Dataset:
    """Open a dataset by name or a table by path; names of the registry come first."""
    columns = {"label": label, "group": group, "batch": batch}
    given = ", ".join(f"{k}=" for k, v in columns.items() if v is not None)
    own = not isinstance(dataset, Dataset) and str(dataset) not in registry().datasets
    if own and (Path(dataset).exists() or given):  # type: ignore[arg-type]
        if data is not None:
            raise ValueError("data= is the folder of a dataset given by name")
        source = open_images(dataset)  # type: ignore[arg-type]
        if label is None or group is None:
            raise ValueError(
                f"{source.name} is a table of your own: say with label= and group= (--label, "
                "--group) which columns are the biology and the independent unit; it has "
                f"{', '.join(map(str, source.metadata.columns))}"
            )
        return label_dataset(source, label=label, group=group, batch=batch)
    if given:
        raise ValueError(f"{given} is for images of your own: the dataset says it itself")
    if isinstance(dataset, Dataset):
        if data is not None:
            raise ValueError("data= is the folder of a dataset given by name")
        return dataset
    return load_dataset(str(dataset), data)
