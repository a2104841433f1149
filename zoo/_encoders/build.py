"""Look up an encoder's record and build an encoder from it, for plugins that wrap encoders."""

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.registry import EncoderSpec, PluginError, registry, resolve_target

if TYPE_CHECKING:
    from .contract import Encoder


def get_spec(name: str) -> EncoderSpec:
    """Return the record of an encoder, fixed or from a family; does not import torch.

    Raises
    ------
    UnknownNameError
        With near names.

    Examples
    --------
    >>> zoo.plugin.get_spec("untrained:resnet18/concat").options["join"]
    'concat'
    """
    return registry().encoder(name)


def build(spec: EncoderSpec, *, weights: Path | None = None, seed: int = 0) -> "Encoder":
    """Call a record's builder; fetches no weights and leaves the encoder on the CPU.

    For encoders that wrap other encoders; users call `zoo.load`.

    Raises
    ------
    PluginError
        When the builder cannot be imported, or does not return an encoder.

    Examples
    --------
    >>> zoo.plugin.build(zoo.plugin.get_spec("object-density"))
    <zoo.Encoder object-density on cpu, float32>
    """
    # Imported here, for the record of an encoder is shown without them.
    from ..metrics._torch_defaults import torch_defaults
    from .contract import Encoder

    with torch_defaults():
        encoder = resolve_target(spec.builder)(spec, weights=weights, seed=seed)
    if not isinstance(encoder, Encoder):
        raise PluginError(f"{spec.builder} returned {encoder!r}, which is not a zoo.Encoder")
    return encoder
