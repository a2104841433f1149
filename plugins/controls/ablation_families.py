"""Families of ablations: any encoder on the segmentation alone, or on one channel at a time."""

from dataclasses import replace

from zoo import plugin

_JOINED = {"mean": "averaged", "concat": "concatenated"}

FAMILIES = (
    plugin.EncoderFamily(
        scheme="mask-only",
        resolver="zoo.plugins.controls.ablation_families:resolve_mask_only",
        summary="Any encoder on the binary segmentation mask: structure without intensity",
        examples=("mask-only:untrained:vit_small_patch16_224", "mask-only:chadavit-untrained"),
    ),
    plugin.EncoderFamily(
        scheme="one-channel",
        resolver="zoo.plugins.controls.ablation_families:resolve_one_channel",
        summary="Any encoder on single channels, averaged (/mean) or concatenated (/concat)",
        examples=("one-channel:chadavit-untrained/concat", "one-channel:chadavit-idrcell100k/mean"),
    ),
)


def resolve_mask_only(text: str) -> plugin.EncoderSpec:
    """Describe the encoder called `text` on segmentations."""
    inner = _inner(text, f"mask-only:{text}")
    return replace(
        inner,
        name=f"mask-only:{text}",
        builder="zoo.plugins.controls.ablations:build_mask_only",
        summary=f"{text} on the binary segmentation mask",
        channels=(1, None),
        role="control",
        control="structural",
        twin=f"mask-only:{inner.twin}" if inner.twin else None,
        slots=(),
        stain_synonyms={},
        options=_options(inner),
    )


def resolve_one_channel(text: str) -> plugin.EncoderSpec:
    """Describe ``ENCODER``, ``ENCODER/mean`` (the same) or ``ENCODER/concat``.

    A ``/mean`` or ``/concat`` at the end always says how this control combines channels; everything
    before it is the name of the encoder, including slashes and colons:
    ``one-channel:untrained:resnet18/concat`` concatenates the channels of ``untrained:resnet18``.

    Raises
    ------
    UnknownNameError
        Also when only the whole text, including its ending, is the name of an encoder.
    """
    name, _, join = text.rpartition("/")
    if not name or join not in _JOINED:
        name, join = text, "mean"
    try:
        inner = _inner(name, f"one-channel:{text}")
    except (plugin.UnknownNameError, plugin.WeightsError) as error:
        if name != text and _is_known(text):
            raise plugin.UnknownNameError(
                f"one-channel:{text} ends in /{join}, which says how channels are combined, but "
                f"only {text!r} is an encoder, and {name!r} is not: write "
                f"'one-channel:{text}/mean' or 'one-channel:{text}/concat'."
            ) from error
        raise
    kept = {"embedding_size": inner.embedding_size, "columns": inner.columns}
    joined = {"embedding_size": None, "columns": ()}
    return replace(
        inner,
        name=f"one-channel:{text}",
        builder="zoo.plugins.controls.ablations:build_one_channel",
        summary=f"{name} on single channels, {_JOINED[join]}",
        channels=(1, None),
        role="control",
        control=inner.control or "ablation",
        twin=f"one-channel:{inner.twin}/{join}" if inner.twin else None,
        slots=(),
        stain_synonyms={},
        options={**_options(inner), "join": join},
        **(kept if join == "mean" else joined),  # type: ignore[arg-type]
    )


def _inner(name: str, whole: str) -> plugin.EncoderSpec:
    """Return the record of an encoder that takes single channels."""
    inner = plugin.get_spec(name)
    if inner.channels[0] > 1:
        raise plugin.UnknownNameError(
            f"There is no {whole}: {name} takes {inner.channels[0]} channels or more."
        )
    return inner


def _is_known(name: str) -> bool:
    try:
        plugin.get_spec(name)
    except plugin.ZooError:
        return False
    return True


def _options(inner: plugin.EncoderSpec) -> dict[str, str | int | float | bool]:
    """Describe the inner encoder completely: its name, builder and options."""
    own = {f"encoder {key}": value for key, value in inner.options.items()}
    return {"encoder": inner.name, "encoder builder": inner.builder, **own}
