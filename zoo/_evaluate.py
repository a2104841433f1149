"""Evaluate an encoder: embed once, then score it and every control in the same way."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from zoo.registry import EvaluationError, registry

from ._cache import EmbeddingCache
from ._dataset import Dataset, open_dataset, open_source
from ._embed import Embeddings, embed_many
from ._encoder import Encoder
from ._labelled import label_dataset
from ._load import load
from ._result import Result, Row
from ._tasks import Question, answer, ask
from ._verdict import PERMUTATIONS, estimate, judge, resamples

CONTROLS = (
    "constant",
    "gaussian",
    "pixel-statistics",
    "object-density",
    "cell-structure",
    "untrained:resnet18/concat",
    "untrained:vit_small_patch16_224/concat",
)
# For images that differ in their number of channels, where joining channels has no meaning.
CONTROLS_RAGGED = tuple(
    {"pixel-statistics": "pixel-statistics-mean"}.get(c, c.replace("/concat", "/mean"))
    for c in CONTROLS
)
TWIN_SEEDS = 5


def evaluate(
    encoder: str | Encoder,
    dataset: str | Path | Dataset,
    *,
    data: str | Path | None = None,
    label: str | None = None,
    group: str | None = None,
    batch: str | None = None,
    controls: Sequence[str] | None = None,
    twin_seeds: int = TWIN_SEEDS,
    seed: int = 0,
    cache: bool = True,
    progress: Callable[[int, int], object] | None = None,
) -> Result:
    """Score an encoder beside chance and beside controls, and say what that allows one to say.

    Parameters
    ----------
    encoder
        A name or a loaded encoder.
    dataset
        A name, a `Dataset` with a spec, or a table or folder of one's own images, as `embed` takes
        it.
    data
        Folder of the dataset, where it is not to be found by itself.
    label, group, batch
        For images of one's own: the columns of biology, of the independent unit (plate, well,
        patient) that folds and bootstrap never split, and of a nuisance, which only colours the
        map.
    controls
        Names of controls; by default degenerate, statistical, structural and untrained ones. The
        untrained twin of a trained encoder is added unless `twin_seeds` is 0. All see the images
        as the encoder does, after the encoder's preprocessing.
    twin_seeds
        Random draws of the twin and of noise; their mean counts.
    seed
        Of the bootstrap.
    cache
        Whether embeddings are kept on disk, by content.
    progress
        Called with the number of images done and of images in all.

    Raises
    ------
    EvaluationError
        When a task cannot be asked honestly: one class, one group, nothing to retrieve.
    ZooError
        When an encoder cannot be loaded or an image not be read; nothing is skipped silently.
    """
    opened = _open(dataset, data, label, group, batch)
    spec = opened.spec
    if spec is None:
        raise EvaluationError(f"{opened.name} has no spec that says what is asked of it")
    questions = [ask(task, opened.metadata, spec.group) for task in spec.tasks]

    subject = load(encoder) if isinstance(encoder, str) else encoder
    if controls is None:
        controls = CONTROLS if spec.channels[0] == spec.channels[1] else CONTROLS_RAGGED
    contenders: dict[str, list[Encoder]] = {subject.name: [subject]}

    def load_control(name: str, seed: int | None = None) -> Encoder:
        return load(
            name, device=subject.device, seed=seed, preprocessing=subject.spec.preprocessing
        )

    for name in controls:
        if name != subject.name:
            # One draw of noise can score anything: several, averaged, show its level.
            noise = registry().encoder(name).control == "degenerate"
            seeds = range(max(twin_seeds, 1)) if noise else [None]
            contenders[name] = [load_control(name, s) for s in seeds]
    if subject.spec.twin is not None and twin_seeds > 0:
        contenders[subject.spec.twin] = [
            load_control(subject.spec.twin, s) for s in range(twin_seeds)
        ]
    if len(contenders) == 1:
        raise EvaluationError("a score never stands alone: name at least one control")

    flat = [e for members in contenders.values() for e in members]
    total = len(opened)
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    embedded = embed_many(opened, flat, cache=EmbeddingCache() if cache else None, progress=tick)
    by_contender: dict[str, list[Embeddings]] = {}
    position = 0
    for name, members in contenders.items():
        by_contender[name] = embedded[position : position + len(members)]
        position += len(members)

    # The matrices are small: threads of the linear algebra would fight torch's for the cores.
    with threadpool_limits(1):
        rows = _score(questions, by_contender, subject.name, seed)
    return Result(
        encoder=subject.name,
        dataset=opened,
        rows=tuple(rows),
        embeddings=by_contender[subject.name][0],
        contenders={
            name: (members[0].spec, [e.provenance for e in by_contender[name]])
            for name, members in contenders.items()
        },
    )


def _score(
    questions: list[Question], by_contender: dict[str, list[Embeddings]], subject: str, seed: int
) -> list[Row]:
    """Answer every question with every embedding, and judge the subject's answers."""
    rows: list[Row] = []
    for question in questions:
        draws = resamples(question.groups, seed=seed)
        n_groups = len(np.unique(question.groups))
        answers = {
            name: [
                answer(
                    question,
                    e.matrix[question.items],
                    permutations=PERMUTATIONS if name == subject else 0,
                    seed=seed,
                )
                for e in members
            ]
            for name, members in by_contender.items()
        }
        for k, first in enumerate(answers[subject][0]):
            estimates = {
                name: estimate([scores[k] for scores in members], draws, question)
                for name, members in answers.items()
            }
            others = {n: e for n, e in estimates.items() if n != subject}
            rows.append(
                Row(
                    task=question.task.title,
                    metric=first.metric,
                    chance=float(np.nanmean(first.null)),
                    estimates=estimates,
                    verdict=judge(subject, estimates[subject], others, first.null, n_groups),
                    n_items=len(question.items),
                    n_groups=n_groups,
                    left_out=question.left_out,
                )
            )
    return rows


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
        source = open_source(dataset)  # type: ignore[arg-type]
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
    return open_dataset(str(dataset), data)
