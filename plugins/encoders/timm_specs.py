"""Records of timm networks on single channels or on colours: untrained or pretrained."""

import re
from typing import Any

from zoo import plugin

_BUILDER = "zoo.plugins.encoders.timm_encoder:build"
_CITATION = (
    "Wightman, PyTorch Image Models (timm), https://github.com/huggingface/pytorch-image-models"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


FAMILIES = (
    plugin.EncoderFamily(
        scheme="untrained",
        resolver="zoo.plugins.encoders.timm_specs:resolve_untrained",
        summary="A timm network with random parameters, on each channel or on colours (/rgb)",
        examples=("untrained:vit_small_patch16_224/concat", "untrained:resnet18/concat"),
    ),
    plugin.EncoderFamily(
        scheme="timm",
        resolver="zoo.plugins.encoders.timm_specs:resolve_pretrained",
        summary="A pretrained timm network; channels averaged (/mean), concatenated, or /rgb",
        examples=(
            "timm:vit_small_patch14_dinov2.lvd142m/concat",
            "timm:resnet18.a1_in1k/mean@<40-hex commit>",
        ),
    ),
)


def resolve_untrained(text: str) -> plugin.EncoderSpec:
    """Describe ``architecture``, the same with ``/mean``, or with ``/concat`` or ``/rgb``."""
    import timm

    model, join = _split(text)
    if not timm.is_model(model) or "." in model:
        untagged = model.partition(".")[0]
        hint = plugin.suggest(untagged, timm.list_models(), limit=3)
        if timm.is_model(untagged):
            hint = f" Untrained networks have no tag: use 'untrained:{untagged}'."
        raise plugin.UnknownNameError(
            f"untrained:{text}: timm has no architecture called {model!r}.{hint}"
        )
    return plugin.EncoderSpec(
        name=f"untrained:{text}",
        builder=_BUILDER,
        summary=f"{model} with random parameters, by seed; {_JOINED[join]}",
        channels=_CHANNELS[join],
        seeded=True,
        role="control",
        control="untrained",
        options={"model": model, "join": join},
        licence="none needed",
        citation=_CITATION,
    )


def resolve_pretrained(text: str) -> plugin.EncoderSpec:
    """Describe ``model[/mean|/concat|/rgb][@commit]``; without a commit, the latest of the hub.

    Raises
    ------
    UnknownNameError
        When timm has no such pretrained model.
    WeightsError
        When the text after the @ is not a commit, or timm's weights are not on the hub as
        safetensors.
    """
    import timm

    named, at, revision = text.partition("@")
    model, join = _split(named)
    pretrained = timm.list_pretrained()
    if model not in pretrained and not timm.is_model_pretrained(model):
        raise plugin.UnknownNameError(
            f"timm:{text}: timm has no pretrained model called {model!r}."
            f"{plugin.suggest(model, pretrained)}"
        )
    record = timm.get_pretrained_cfg(model)
    repo, filename = _on_the_hub(record, text)
    if at and not _COMMIT.fullmatch(revision):
        raise plugin.WeightsError(
            f"timm:{text}: {revision!r} is not a full 40-hex commit of {repo}; omit it and the "
            "@ to take the latest one"
        )
    architecture = model.partition(".")[0]
    return plugin.EncoderSpec(
        name=f"timm:{text}",
        builder=_BUILDER,
        summary=f"{model}, pretrained; {_JOINED[join]}",
        channels=_CHANNELS[join],
        weights=plugin.Weights(
            repo=repo, revision=revision or None, latest=not revision, filename=filename
        ),
        twin=f"untrained:{architecture}/{join}",
        options={"model": f"{architecture}.{record.tag}" if record.tag else model, "join": join},
        licence=record.license or "not stated",
        citation=_CITATION,
    )


_JOINED = {
    "mean": "channels one at a time and averaged",
    "concat": "channels one at a time and concatenated",
    "rgb": "the three channels together, as red, green and blue",
}
_CHANNELS: dict[str, tuple[int, int | None]] = {
    "mean": (1, None),
    "concat": (1, None),
    "rgb": (3, 3),
}


def _split(text: str) -> tuple[str, str]:
    model, slash, join = text.partition("/")
    if not slash:
        join = "mean"
    if join not in _JOINED:
        raise plugin.UnknownNameError(
            f"{text!r} ends in /{join}, but channels are combined by '/mean' or '/concat', or "
            "seen together as colours by '/rgb'."
        )
    return model, join


def _on_the_hub(record: Any, text: str) -> tuple[str, str]:
    """Repository and file of a pretrained configuration of timm."""
    filename = record.hf_hub_filename or "model.safetensors"
    if not record.hf_hub_id or not filename.endswith(".safetensors"):
        raise plugin.WeightsNotFoundError(
            f"timm:{text}: timm offers its weights only as a pickle, at {record.url or filename}, "
            "which the zoo does not read: choose another model"
        )
    return record.hf_hub_id, filename
