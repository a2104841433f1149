"""Controls: what an encoder must beat before its score means anything."""

from collections.abc import Iterable

import zoo

from . import ablation_families, specs


@zoo.hookimpl
def zoo_encoders() -> Iterable[zoo.EncoderSpec]:
    """Yield pixel statistics, texture, arrangement of objects, and degenerate embeddings."""
    yield from specs.ENCODERS


@zoo.hookimpl
def zoo_encoder_families() -> Iterable[zoo.EncoderFamily]:
    """Yield ablations: any encoder without one of its abilities."""
    yield from ablation_families.FAMILIES
