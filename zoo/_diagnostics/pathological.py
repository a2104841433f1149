"""Scores of images from which something essential was taken."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import DataError, ImageError

from .._data.dataset import Dataset
from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.tasks import answer
from .._images.destroy import INPUTS, READINGS, check_input, destroy
from .._images.image import Image
from .changed_images import NO_IMAGES, embedded, few_encoders, one_channel_inputs
from .study import Study, scored

Array = NDArray[Any]


def pathological(study: Study) -> Diagnostic:
    """Scores of images from which something essential was taken."""
    title = "Pathological inputs"
    reading = (
        "Scores when every image is destroyed in one respect, training and testing alike. What "
        "keeps its score did not need what was taken away: "
        + "; ".join(f"{what}: {meaning}" for what, meaning in READINGS.items())
        + "."
    )
    if study.dataset.read is None or study.encoder is None:
        return Diagnostic(
            name="pathological",
            title=title,
            how_to_read=reading,
            not_computed=(NO_IMAGES,),
            view="change",
            order=-1,
            scores_again=True,
        )
    findings: list[Finding] = []
    refused: list[str] = []
    encoders = dict(few_encoders(study, ()))
    originals = {
        (name, k): answer(q, study.contenders[name].embeddings[0].matrix[q.items])[:1]
        for name in encoders
        for k, q in enumerate(study.questions)
    }

    def add(name: str, condition: str, matrix: Array) -> None:
        for k, question in enumerate(study.questions):
            whole = np.arange(len(question.items))
            findings.append(
                scored(
                    question,
                    answer(question, matrix[question.items])[:1],
                    encoder=name,
                    condition=condition,
                    seed=study.seed,
                    reference=originals[name, k][0].at(whole),
                    reference_name="as it is",
                )
            )

    inputs = [*INPUTS, *one_channel_inputs(study)]
    for place, condition in enumerate(inputs):
        study.tell("pathological inputs", place, len(inputs))
        spoilt = pathological_dataset(study.dataset, condition, study.seed)
        for name, matrix in embedded(study, spoilt, encoders, refused):
            add(name, condition, matrix)
    for name, contender in study.contenders.items():
        if name.startswith("mask-only:") and name.removeprefix("mask-only:") in encoders:
            add(name.removeprefix("mask-only:"), "mask only", contender.embeddings[0].matrix)
    return Diagnostic(
        name="pathological",
        title=title,
        how_to_read=reading,
        findings=tuple(findings),
        not_computed=tuple(refused),
        view="change",
        order=-1,
        scores_again=True,
    )


def pathological_dataset(dataset: Dataset, name: str, seed: int) -> Dataset:
    """Take the same from every image of a dataset, when it is read.

    What is random follows from the seed and the number of the item. Metadata stays; embeddings
    that came with the images are left out.

    Raises
    ------
    ValueError
        For a name that means nothing.
    DataError
        For a dataset without images.
    """
    check_input(name)
    if dataset.read is None:
        raise DataError(f"{dataset.name} has no images that something could be taken from")
    read = dataset.read

    def read_without(i: int) -> Image:
        image = read(i)
        try:
            return destroy(image, name, np.random.default_rng([seed, i]))
        except ImageError as error:
            raise ImageError(f"item {i} of {dataset.name}: {error}") from error

    return replace(dataset, name=f"{dataset.name}, {name}", read=read_without, profiles={})
