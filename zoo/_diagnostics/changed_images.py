"""Embeddings of changed images, for the encoder under test and a few controls."""

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from zoo.registry import ZooError

from .._data.dataset import Dataset
from .._embedding.cache import EmbeddingCache
from .._embedding.embed import embed_many
from .._encoders.contract import Encoder
from .._images.image import channel_names
from .study import Study

Array = NDArray[Any]

NO_IMAGES = "No images are available, only embeddings made elsewhere."


def few_encoders(study: Study, more: Sequence[str]) -> Iterator[tuple[str, Encoder]]:
    """Yield the encoder under test, its twin, and the first control for each prefix in `more`."""
    names = [study.subject, *([study.twin] if study.twin else [])]
    for start in more:
        names += [n for n in study.contenders if n.startswith(start)][:1]
    for name in dict.fromkeys(names):
        encoders = study.contenders[name].encoders
        if encoders:
            yield name, encoders[0]


def embedded(
    study: Study, dataset: Dataset, encoders: dict[str, Encoder], not_computed: list[str]
) -> Iterator[tuple[str, Array]]:
    """Embed changed images, one encoder at a time, so that an error affects one encoder only."""
    for name, encoder in encoders.items():
        try:
            kept = EmbeddingCache() if study.cache else None
            yield name, embed_many(dataset, [encoder], cache=kept)[0].matrix
        except ZooError as error:
            not_computed.append(f"{name}: {error}")


def one_channel_inputs(study: Study) -> list[str]:
    """Names of the single-channel inputs, for images with several channels."""
    names = channels_of_dataset(study)
    return [f"{name} only" for name in names] if len(names) > 1 else []


def channels_of_dataset(study: Study) -> list[str]:
    """Names of the channels if all images have the same, else none."""
    table = study.metadata
    counts = [table[c].nunique() for c in ("n_channels", "channel_count") if c in table.columns]
    low, high = study.dataset.channels or (1, max(counts, default=1))
    known = study.dataset.channels is not None
    return [] if (low < high if known else high > 1) else list(channel_names(study.dataset[0]))
