"""Records of MorphEm checkpoints: the encoder of CHAMMI-75, which sees one channel at a time."""

from zoo import plugin

from .checkpoint_folder import open_checkpoint, read_architecture
from .twin_record import twin_family, twin_of

CITATION = (
    "Agrawal et al., CHAMMI-75: Pre-training multi-channel models with heterogeneous microscopy "
    "images, ICLR 2026, arXiv:2512.20833"
)
_WHOLE = ("img_size", "patch_size", "embed_dim", "depth", "num_heads")

FAMILIES = (
    plugin.EncoderFamily(
        scheme="morphem",
        resolver="zoo.plugins.encoders.morphem:resolve",
        summary="MorphEm of CHAMMI-75 from a folder or hub repository; channels concatenated",
        examples=("morphem:./my-checkpoint", "morphem:org/repo@<40-hex commit>"),
    ),
    twin_family("morphem"),
)


def resolve(place: str) -> plugin.EncoderSpec:
    """Describe the checkpoint at a folder or at ``org/repo@commit``.

    Each channel is standardised and then resized. The authors also replace saturated pixels by
    random numbers, which is left out: the same image would get another embedding each time.
    """
    path, weights = open_checkpoint("morphem", place)
    config = read_architecture(path, _WHOLE, {"mlp_ratio": 4.0, "layer_norm_eps": 1e-6})
    side = config["img_size"]
    return plugin.EncoderSpec(
        name=f"morphem:{place}",
        builder="zoo.plugins.encoders.morphem_encoder:build",
        summary=f"MorphEm from {place}; saturated pixels stay as they are",
        channels=(1, None),
        weights=weights,
        twin=f"morphem-untrained:{place}",
        options=config,
        preprocessing=plugin.Preprocessing(
            scaling="instance", resize=side, crop=side, min_side=min(16, side)
        ),
        citation=CITATION,
    )


def resolve_untrained(place: str) -> plugin.EncoderSpec:
    """Describe the untrained twin of the checkpoint at a folder or at ``org/repo@commit``."""
    return twin_of(resolve(place))
