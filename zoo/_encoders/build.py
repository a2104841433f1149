"""From a name to a record, and from a record to an encoder; what plugins of plugins build on."""

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.registry import EncoderSpec, PluginError, registry, resolve_target

if TYPE_CHECKING:
    from .contract import Encoder


def get_spec(name: str) -> EncoderSpec:
    """Return the record of an encoder, fixed or from a family; imports no torch by itself.

    Raises
    ------
    UnknownNameError
        With near names.
    """
    return registry().encoder(name)


def build(spec: EncoderSpec, *, weights: Path | None = None, seed: int = 0) -> "Encoder":
    """Call a record's builder: no weights are fetched, and the encoder stays on the CPU.

    For encoders made of other encoders; `zoo.load` is what users want.

    Raises
    ------
    PluginError
        When the builder cannot be imported, or builds something else.
    """
    from .contract import Encoder

    encoder = resolve_target(spec.builder)(spec, weights=weights, seed=seed)
    if not isinstance(encoder, Encoder):
        raise PluginError(f"{spec.builder} built {encoder!r}, which is no zoo.Encoder")
    return encoder
