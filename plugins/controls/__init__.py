"""Controls: the baselines that an encoder has to beat before its score means anything."""

from collections.abc import Iterable

from zoo import plugin

from . import ablation_families, specs


@plugin.hookimpl
def zoo_encoders() -> Iterable[plugin.EncoderSpec]:
    """Yield pixel statistics, texture, object structure, and degenerate embeddings."""
    yield from specs.ENCODERS


@plugin.hookimpl
def zoo_encoder_families() -> Iterable[plugin.EncoderFamily]:
    """Yield ablations: any encoder on masks alone, or on one channel at a time."""
    yield from ablation_families.FAMILIES
