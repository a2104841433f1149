"""Records of ChannelViT checkpoints: vision transformers with an embedding for each channel."""

from zoo import plugin

from .checkpoint_folder import channel_names, open_checkpoint, read_architecture
from .twin_record import twin_family, twin_of

CITATION = (
    "Bao, Sivanandan and Karaletsos, Channel Vision Transformers: An Image Is Worth 1 x 16 x 16 "
    "Words, ICLR 2024, arXiv:2309.16108"
)
_WHOLE = ("img_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads")

FAMILIES = (
    plugin.EncoderFamily(
        scheme="channelvit",
        resolver="zoo.plugins.encoders.channelvit:resolve",
        summary="ChannelViT from a folder or hub repository; channels by number (channel_index=)",
        examples=("channelvit:./my-checkpoint", "channelvit:org/repo@<40-hex commit>"),
    ),
    twin_family("channelvit"),
)


def resolve(place: str) -> plugin.EncoderSpec:
    """Describe the checkpoint at a folder or at ``org/repo@commit``."""
    path, weights = open_checkpoint("channelvit", place)
    config = read_architecture(path, _WHOLE, {"mlp_ratio": 4.0, "layer_norm_eps": 1e-6})
    side = config["img_size"]
    slots = channel_names(path, config["in_chans"])
    if slots and len(slots) != config["in_chans"]:
        raise plugin.WeightsError(f"{path}: channel_names must name all {config['in_chans']}")
    return plugin.EncoderSpec(
        name=f"channelvit:{place}",
        builder="zoo.plugins.encoders.channelvit_encoder:build",
        summary=f"ChannelViT from {place}",
        embedding_size=config["embed_dim"],
        channels=(1, config["in_chans"]),
        slots=slots,
        weights=weights,
        twin=f"channelvit-untrained:{place}",
        options=config,
        preprocessing=plugin.Preprocessing(resize=side, crop=side, min_side=min(16, side)),
        citation=CITATION,
    )


def resolve_untrained(place: str) -> plugin.EncoderSpec:
    """Describe the untrained twin of the checkpoint at a folder or at ``org/repo@commit``."""
    return twin_of(resolve(place))
