"""Controls: the baselines that an encoder has to beat before its score means anything."""

from collections.abc import Iterable

import zoo

from . import ablation_families, specs


@zoo.hookimpl
def zoo_encoders() -> Iterable[zoo.EncoderSpec]:
    """Yield pixel statistics, texture, object structure, and degenerate embeddings."""
    yield from specs.ENCODERS


@zoo.hookimpl
def zoo_encoder_families() -> Iterable[zoo.EncoderFamily]:
    """Yield ablations: any encoder on masks alone, or on one channel at a time."""
    yield from ablation_families.FAMILIES
