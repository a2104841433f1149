"""What makes a comparison unfair: training on the evaluated data, other images for controls."""

import re
from collections.abc import Mapping

from zoo.registry import EncoderSpec

from .._data.dataset import Dataset
from .contenders import Contender


def fairness_warnings(contenders: Mapping[str, Contender], dataset: Dataset) -> tuple[str, ...]:
    """Say which contenders were trained on the data set, and whose images controls do not see."""
    found = [
        f"{name} was trained on {dataset.name}: its scores do not tell how it does on new data."
        for name, contender in contenders.items()
        if is_trained_on(contender.spec, dataset)
    ]
    subject, *_ = contenders.values()
    for encoder in subject.encoders[:1]:
        if encoder.own_prepare is not None:
            found.append(
                f"{encoder.name} prepares images by code of its own ({encoder.own_prepare}), which "
                "the controls do not: they see the images after the preprocessing of its record."
            )
    return tuple(found)


def is_trained_on(spec: EncoderSpec, dataset: Dataset) -> bool:
    """Whether a record names the data set among its training data, however it is written."""
    names = {dataset.name} | ({dataset.spec.name} if dataset.spec is not None else set())
    return bool({_plain(n) for n in names} & {_plain(n) for n in spec.trained_on})


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()
