"""Pathological inputs: scores of images without essential information."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import DataError, ImageError

from .._data.dataset import Dataset
from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import score_task
from .._images.destroy import INPUTS, READINGS, check_input, destroy
from .._images.image import Image
from .changed_images import NO_IMAGES, embedded, few_encoders, one_channel_inputs
from .study import Study, scored

Array = NDArray[Any]


def pathological(study: Study) -> Diagnostic:
    """Score images from which essential information was removed."""
    title = "Pathological inputs"
    how_to_read = (
        "Scores on images with information removed, in training and testing. An encoder that "
        "keeps its score does not need that information: "
        + "; ".join(f"{what}: {meaning}" for what, meaning in READINGS.items())
        + "."
    )
    if study.dataset.read is None or study.encoder is None:
        return Diagnostic(
            name="pathological",
            title=title,
            how_to_read=how_to_read,
            not_computed=(NO_IMAGES,),
            view="change",
            order=-1,
            scores_again=True,
        )
    findings: list[Finding] = []
    not_computed: list[str] = []
    encoders = dict(few_encoders(study, ()))
    originals = {
        (name, k): score_task(q, study.contenders[name].embeddings[0].matrix[q.items])[:1]
        for name in encoders
        for k, q in enumerate(study.questions)
    }

    def add(name: str, condition: str, matrix: Array) -> None:
        for k, question in enumerate(study.questions):
            whole = np.arange(len(question.items))
            findings.append(
                scored(
                    question,
                    score_task(question, matrix[question.items])[:1],
                    encoder=name,
                    condition=condition,
                    seed=study.seed,
                    reference=originals[name, k][0].at(whole),
                    reference_name="as it is",
                )
            )

    inputs = [*INPUTS, *one_channel_inputs(study)]
    for place, condition in enumerate(inputs):
        study.report("pathological inputs", place, len(inputs))
        changed = pathological_dataset(study.dataset, condition, study.seed)
        for name, matrix in embedded(study, changed, encoders, not_computed):
            add(name, condition, matrix)
    for name, contender in study.contenders.items():
        if name.startswith("mask-only:") and name.removeprefix("mask-only:") in encoders:
            add(name.removeprefix("mask-only:"), "mask only", contender.embeddings[0].matrix)
    return Diagnostic(
        name="pathological",
        title=title,
        how_to_read=how_to_read,
        findings=tuple(findings),
        not_computed=tuple(not_computed),
        view="change",
        order=-1,
        scores_again=True,
    )


def pathological_dataset(dataset: Dataset, name: str, seed: int) -> Dataset:
    """Apply one of the changes of `destroy` to every image of a dataset when it is read.

    Random numbers depend on the seed and the index of the item. Metadata is kept; precomputed
    embeddings are dropped.

    Raises
    ------
    ValueError
        For an unknown name.
    DataError
        For a dataset without images.
    """
    check_input(name)
    if dataset.read is None:
        raise DataError(f"{dataset.name} has no images to change")
    read = dataset.read

    def read_without(i: int) -> Image:
        image = read(i)
        try:
            return destroy(image, name, np.random.default_rng([seed, i]))
        except ImageError as error:
            raise ImageError(f"item {i} of {dataset.name}: {error}") from error

    return replace(dataset, name=f"{dataset.name}, {name}", read=read_without, profiles={})
