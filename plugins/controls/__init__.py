"""Controls: what an encoder must beat before its score means anything."""

from collections.abc import Iterable

from zoo import plugin

from . import ablation_families, specs


@plugin.hookimpl
def zoo_encoders() -> Iterable[plugin.EncoderSpec]:
    """Yield pixel statistics, texture, arrangement of objects, and degenerate embeddings."""
    yield from specs.ENCODERS


@plugin.hookimpl
def zoo_encoder_families() -> Iterable[plugin.EncoderFamily]:
    """Yield ablations: any encoder without one of its abilities."""
    yield from ablation_families.FAMILIES
