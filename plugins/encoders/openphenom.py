"""Records of OpenPhenom checkpoints: channel-agnostic masked autoencoders."""

from zoo import plugin

from .checkpoint_folder import open_checkpoint, read_architecture
from .twin_record import twin_family, twin_of

CITATION = (
    "Kraus et al., Masked Autoencoders for Microscopy are Scalable Learners of Cellular Biology, "
    "CVPR 2024, arXiv:2404.10242"
)
_WHOLE = ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "max_in_chans")

FAMILIES = (
    plugin.EncoderFamily(
        scheme="openphenom",
        resolver="zoo.plugins.encoders.openphenom:resolve",
        summary="OpenPhenom (CA-MAE) from a folder or hub repository; any number of channels",
        examples=("openphenom:./my-checkpoint", "openphenom:org/repo@<40-hex commit>"),
    ),
    twin_family("openphenom"),
)


def resolve(place: str) -> plugin.EncoderSpec:
    """Describe the checkpoint at a folder or at ``org/repo@commit``.

    Images are scaled to [0, 1], resized and cropped to the size of the training; then each channel
    is standardised.
    """
    path, weights = open_checkpoint("openphenom", place)
    config = read_architecture(path, _WHOLE, {"mlp_ratio": 4.0})
    side = config["img_size"]
    return plugin.EncoderSpec(
        name=f"openphenom:{place}",
        builder="zoo.plugins.encoders.openphenom_encoder:build",
        summary=f"OpenPhenom from {place}",
        embedding_size=config["embed_dim"],
        channels=(1, config["max_in_chans"]),
        weights=weights,
        twin=f"openphenom-untrained:{place}",
        options=config,
        preprocessing=plugin.Preprocessing(
            resize=side, crop=side, min_side=min(16, side), standardise=1e-5
        ),
        citation=CITATION,
    )


def resolve_untrained(place: str) -> plugin.EncoderSpec:
    """Describe the untrained twin of the checkpoint at a folder or at ``org/repo@commit``."""
    return twin_of(resolve(place))
