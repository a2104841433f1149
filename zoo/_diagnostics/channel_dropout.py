"""Channel dropout: scores with one channel missing at test time."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .._data.dataset import Dataset
from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import score_task
from .._images.image import Image
from .._images.perturb import blackened
from ..metrics._probes import folds
from .changed_images import NO_IMAGES, channels_of_dataset, embedded, few_encoders
from .study import Study, scored


def channels_left_out(study: Study) -> Diagnostic:
    """Score images with one channel set to 0 in the test folds only."""
    title = "Channel dropout"
    how_to_read = (
        "Trained on the original images and tested on images with one channel set to 0: a large "
        "drop shows that a score depends on one stain."
    )
    if study.dataset.read is None or study.encoder is None:
        return Diagnostic(
            name="channels",
            title=title,
            how_to_read=how_to_read,
            not_computed=(NO_IMAGES,),
            view="change",
            order=-1,
            scores_again=True,
        )
    findings: list[Finding] = []
    not_computed: list[str] = []
    names = channels_of_dataset(study)
    if len(names) < 2:
        not_computed.append(
            "The images have a single channel."
            if names
            else "Images differ in their channels, so no channel can be dropped from all of them."
        )
        names = []
    encoders = dict(few_encoders(study, ()))
    for channel, label in enumerate(names):
        black = replace(study.dataset, read=_without(study.dataset, channel))
        for name, matrix in embedded(study, black, encoders, not_computed):
            intact = study.contenders[name].embeddings[0].matrix
            for question in study.questions:
                if question.task.kind == "retrieval":
                    continue
                n = len(question.items)
                doubled = replace(
                    question,
                    items=np.concatenate([question.items, question.items]),
                    truth=np.concatenate([question.truth, question.truth]),
                    groups=np.concatenate([question.groups, question.groups]),
                )
                splits = [(train, test + n) for train, test in folds(question.groups)]
                rows = np.concatenate([intact[question.items], matrix[question.items]])
                whole = score_task(question, intact[question.items])[0]
                findings.append(
                    scored(
                        doubled,
                        score_task(doubled, rows, splits=splits)[:1],
                        encoder=name,
                        condition=f"{label} black",
                        seed=study.seed,
                        items=np.arange(n, 2 * n),
                        reference=whole.at(np.arange(n)),
                        reference_name="as it is",
                    )
                )
    return Diagnostic(
        name="channels",
        title=title,
        how_to_read=how_to_read,
        findings=tuple(findings),
        not_computed=tuple(dict.fromkeys(not_computed)),
        view="change",
        order=-1,
        scores_again=True,
    )


def _without(dataset: Dataset, channel: int) -> Callable[[int], Image]:
    return lambda i: blackened(dataset[i], channel)
