"""Look up an encoder's record and build an encoder from it, for plugins that wrap encoders."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.registry import EncoderSpec, PluginError, ZooError, fetch, registry, resolve_target
from zoo.registry.blame import OWN, blamed

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


def build(
    spec: EncoderSpec,
    *,
    weights: Path | None = None,
    files: Sequence[Path] | None = None,
    seed: int = 0,
) -> "Encoder":
    """Call a record's builder; fetches no weights and leaves the encoder on the CPU.

    For encoders that wrap other encoders; users call `zoo.load`. `files` are by default those of
    the record, which must be on this machine.

    Raises
    ------
    PluginError
        When the builder cannot be imported, raises, or does not return an encoder; it names the
        plugin.

    Examples
    --------
    >>> zoo.plugin.build(zoo.plugin.get_spec("object-density"))
    <zoo.Encoder object-density on cpu, float32>
    """
    # Imported here, for the record of an encoder is shown without them.
    from ..metrics._torch_defaults import torch_defaults
    from .batching import is_out_of_memory
    from .contract import Encoder

    origin = registry().origin(spec)
    outside = origin is not None and origin.distribution != OWN
    if files is None:
        files = [fetch(file, download=False).path for file in spec.files]
    if spec.environment is not None:
        from .own_environment import EnvironmentEncoder

        return EnvironmentEncoder(spec, weights=weights, files=files, seed=seed)
    further = {"files": tuple(files)} if files else {}
    try:
        with torch_defaults():
            encoder = resolve_target(spec.builder)(spec, weights=weights, seed=seed, **further)
    except PluginError as error:
        if not outside:
            raise
        raise PluginError(f"{spec.name!r} of the plugin {origin}: {error}") from error
    except ZooError:
        raise
    except (Exception, SystemExit) as error:
        if origin is None or not outside or is_out_of_memory(error):
            raise
        raise blamed(f"{spec.name!r} cannot be built", origin, error) from error
    if not isinstance(encoder, Encoder):
        whose = f" (plugin {origin})" if outside else ""
        raise PluginError(f"{spec.builder}{whose} returned {encoder!r}, which is not a zoo.Encoder")
    return encoder
