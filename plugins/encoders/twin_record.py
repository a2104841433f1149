"""The record of the untrained twin of a checkpoint."""

from dataclasses import replace

from zoo import plugin


def twin_of(spec: plugin.EncoderSpec, scheme: str | None = None) -> plugin.EncoderSpec:
    """Describe the network of a checkpoint with random parameters: ``SCHEME-untrained:PLACE``.

    An encoder whose name has no scheme needs `scheme`; its name is then the place.
    """
    place = spec.name
    if scheme is None:
        scheme, _, place = spec.name.partition(":")
    return replace(
        spec,
        name=f"{scheme}-untrained:{place}",
        summary=f"The architecture of {place} with random parameters, by seed",
        weights=None,
        twin=None,
        seeded=True,
        role="control",
        control="untrained",
        licence="none needed",
        trained_on=(),
    )


def twin_family(scheme: str) -> plugin.EncoderFamily:
    """Return the family of twins of the checkpoints of a scheme."""
    return plugin.EncoderFamily(
        scheme=f"{scheme}-untrained",
        resolver=f"zoo.plugins.encoders.{scheme}:resolve_untrained",
        summary="The untrained twin of such a checkpoint",
        examples=(f"{scheme}-untrained:./my-checkpoint",),
    )
