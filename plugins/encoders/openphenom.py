"""Records of OpenPhenom checkpoints: channel-agnostic masked autoencoders."""

from dataclasses import replace

from zoo import plugin

from .checkpoint_folder import open_checkpoint, read_architecture
from .twin_record import twin_family, twin_of


def _preprocessing(side: int) -> plugin.Preprocessing:
    return plugin.Preprocessing(resize=side, crop=side, min_side=min(16, side), standardise=1e-5)


CITATION = (
    "Kraus et al., Masked Autoencoders for Microscopy are Scalable Learners of Cellular Biology, "
    "CVPR 2024, arXiv:2404.10242"
)
# As the authors' class has them, which takes no sizes from its config.json.
_S16: dict[str, int | float] = {
    "img_size": 256,
    "patch_size": 16,
    "embed_dim": 384,
    "depth": 12,
    "num_heads": 6,
    "max_in_chans": 11,
    "mlp_ratio": 4.0,
}
_WHOLE = ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "max_in_chans")

_BUILDER = "zoo.plugins.encoders.openphenom_encoder:build"

ENCODERS = (
    plugin.EncoderSpec(
        name="openphenom-s16",
        builder=_BUILDER,
        summary="OpenPhenom-S/16 (CA-MAE); 1 to 11 channels; to be centred and scaled by controls",
        embedding_size=384,
        channels=(1, 11),
        weights=plugin.Weights(
            repo="recursionpharma/OpenPhenom",
            revision="2f824758db2414defc093c531a1b904f89bbf155",
            size=712_000_000,
        ),
        twin="openphenom-untrained:openphenom-s16",
        options=_S16,
        preprocessing=_preprocessing(256),
        licence="Recursion, non-commercial: https://huggingface.co/recursionpharma/OpenPhenom "
        "(LICENSE)",
        citation=CITATION,
        trained_on=("RxRx3", "JUMP-CP"),
    ),
)

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
        builder=_BUILDER,
        summary=f"OpenPhenom from {place}",
        embedding_size=config["embed_dim"],
        channels=(1, config["max_in_chans"]),
        weights=weights,
        twin=f"openphenom-untrained:{place}",
        options=config,
        preprocessing=_preprocessing(side),
        citation=CITATION,
    )


def resolve_untrained(place: str) -> plugin.EncoderSpec:
    """Describe the untrained twin of ``openphenom-s16``, or of a checkpoint as in `resolve`."""
    (named,) = ENCODERS
    if place != named.name:
        return twin_of(resolve(place))
    return replace(twin_of(named, "openphenom"), options={**named.options, "final_norm": False})
