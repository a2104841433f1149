"""Records of ChAda-ViT: the published weights, their untrained twin, and other checkpoints."""

from pathlib import Path

from zoo import plugin

from .checkpoint_folder import (
    channel_names,
    check_positive,
    check_shape,
    open_checkpoint,
    read_card,
    read_config,
    square_side,
)
from .twin_record import twin_family, twin_of

CITATION = (
    "Bourriez et al., ChAda-ViT: Channel Adaptive Attention for Joint Representation Learning of "
    "Heterogeneous Microscopy Images, CVPR 2024, arXiv:2311.15264"
)
# The published config.json. The number of heads and eps cannot be read from the weights: the
# authors' class, config and notebook use 12 and 1e-5, their training factory 2 and 1e-6.
PUBLISHED: dict[str, int | float] = {
    "depth": 12,
    "embed_dim": 192,
    "num_heads": 12,
    "patch_size": 16,
    "img_size": 224,
    "max_number_channels": 10,
    "hidden_dim": 2048,
    "layer_norm_eps": 1e-5,
}
_BUILDER = "zoo.plugins.encoders.chadavit_encoder:build"
_REQUIRED = ("depth", "embed_dim", "num_heads", "patch_size", "img_size", "max_number_channels")


ENCODERS = (
    plugin.EncoderSpec(
        name="chadavit-idrcell100k",
        builder=_BUILDER,
        summary="ChAda-ViT (tiny, 11 M parameters) pre-trained on IDRCell100k; 1 to 10 channels",
        embedding_size=192,
        channels=(1, 10),
        weights=plugin.Weights(
            repo="nicoboou/chadavit16-moyen",
            revision="91a41123650ccff12f590364fec95d76af36cc93",
            size=45_400_000,
        ),
        twin="chadavit-untrained",
        options=PUBLISHED,
        licence="weights: not stated on the hub; authors' code: Apache-2.0",
        citation=CITATION,
        trained_on=("IDRCell100k",),
    ),
    plugin.EncoderSpec(
        name="chadavit-untrained",
        builder=_BUILDER,
        summary="The same network with random parameters, by seed",
        embedding_size=192,
        channels=(1, 10),
        seeded=True,
        role="control",
        control="untrained",
        options=PUBLISHED,
        licence="none needed",
        citation=CITATION,
    ),
)


FAMILIES = (
    plugin.EncoderFamily(
        scheme="chadavit",
        resolver="zoo.plugins.encoders.chadavit:resolve",
        summary="A folder or hub repository with config.json and model.safetensors",
        examples=("chadavit:./my-checkpoint", "chadavit:org/repo@<40-hex commit>"),
    ),
    twin_family("chadavit"),
)


def resolve(place: str) -> plugin.EncoderSpec:
    """Describe the checkpoint at a folder or at ``org/repo@commit``."""
    path, weights = open_checkpoint("chadavit", place)
    config = _read_config(path)
    return plugin.EncoderSpec(
        name=f"chadavit:{place}",
        builder=_BUILDER,
        summary=f"ChAda-ViT from {place}",
        embedding_size=int(config["embed_dim"]),
        channels=(1, int(config["max_number_channels"])),
        slots=channel_names(path, int(config["max_number_channels"])),
        weights=weights,
        twin=f"chadavit-untrained:{place}",
        options=config,
        citation=CITATION,
        **read_card(path),
    )


def resolve_untrained(place: str) -> plugin.EncoderSpec:
    """Describe the untrained twin of the checkpoint at a folder or at ``org/repo@commit``."""
    return twin_of(resolve(place))


def _read_config(path: Path) -> dict[str, int | float]:
    raw = read_config(path, _REQUIRED)
    if raw.get("in_chans", 1) != 1:
        raise plugin.WeightsError(f"{path} has in_chans {raw['in_chans']}, but ChAda-ViT takes 1")
    config = {name: raw[name] for name in _REQUIRED}
    config["img_size"] = square_side(path, raw["img_size"])
    config["hidden_dim"] = raw.get("hidden_dim", PUBLISHED["hidden_dim"])
    config["layer_norm_eps"] = raw.get("layer_norm_eps", PUBLISHED["layer_norm_eps"])
    check_positive(path, config, real=("layer_norm_eps",))
    check_shape(path, *(config[k] for k in ("embed_dim", "num_heads", "img_size", "patch_size")))
    return config
