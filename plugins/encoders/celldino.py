"""Records of Cell-DINO and channel-adaptive DINO: DINOv2 for fluorescence microscopy."""

from pathlib import Path
from typing import Any

from zoo import plugin

from .celldino_published import PUBLISHED
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
    "Moutakanni et al., Cell-DINO: Self-supervised image-based embeddings for cell fluorescent "
    "microscopy, 2025; De Lorenci et al., Scaling channel-adaptive self-supervised learning, "
    "TMLR 2025, openreview.net/forum?id=pT8sgtRVAf; network: Oquab et al., DINOv2, arXiv:2304.07193"
)
_SIZES = ("img_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads")
_REST: dict[str, Any] = {
    "mlp_ratio": 4.0,
    "ffn_layer": "mlp",
    "block_chunks": 0,
    "num_register_tokens": 0,
    "channel_adaptive": False,
    "interpolate_antialias": False,
    "interpolate_offset": 0.1,
}
_TAKEN = {
    "block_chunks": "0, or a number of groups up to the depth",
    "num_register_tokens": "0 or more",
    "ffn_layer": "mlp, swiglu or swiglufused",
    "channel_adaptive": "true or false",
    "interpolate_antialias": "false",
    "interpolate_offset": "0.1",
}

FAMILIES = (
    plugin.EncoderFamily(
        scheme="celldino",
        resolver="zoo.plugins.encoders.celldino:resolve",
        summary="Cell-DINO, or channel-adaptive DINO, from a folder or hub repository",
        examples=("celldino:./my-checkpoint", "celldino:org/repo@<40-hex commit>"),
    ),
    twin_family("celldino"),
)


def resolve(place: str) -> plugin.EncoderSpec:
    """Describe the checkpoint at a folder or at ``org/repo@commit``.

    Each channel is standardised last, after scaling and cropping. The authors divide by the
    standard deviation and 1e-7; here the deviation stands alone, which differs by less than 1e-5 of
    a value where a channel varies by more than a hundredth of its range.
    """
    path, weights = open_checkpoint("celldino", place)
    raw = _complete(path, read_config(path))
    config = _architecture(path, raw)
    alone, count, dim = config["channel_adaptive"], config["in_chans"], config["embed_dim"]
    slots = channel_names(path, count, raw)
    if slots and (alone or len(slots) != count):
        raise plugin.WeightsError(
            f"{path}: channel_names must name all {count} channels that are one input, and none "
            "where channels are taken one at a time"
        )
    what = "Channel-adaptive DINO" if alone else f"Cell-DINO of {count} channels"
    return plugin.EncoderSpec(
        name=f"celldino:{place}",
        builder="zoo.plugins.encoders.celldino_encoder:build",
        summary=f"{what} from {place}",
        embedding_size=None if alone else dim,
        channels=(1, None) if alone else (count, count),
        slots=slots,
        weights=weights,
        twin=f"celldino-untrained:{place}",
        options=config,
        citation=CITATION,
        **read_card(path, raw),
    )


def resolve_untrained(place: str) -> plugin.EncoderSpec:
    """Describe the untrained twin of the checkpoint at a folder or at ``org/repo@commit``."""
    return twin_of(resolve(place))


def _complete(path: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Add what a published network has, where ``hub_model`` names it, and the usual rest."""
    raw = _REST | _published(path, raw) | raw
    missing = [name for name in _SIZES if name not in raw]
    if missing:
        raise plugin.WeightsError(
            f"{path} lacks {', '.join(missing)}, which cannot be guessed: give them, or hub_model"
        )
    side = raw["img_size"] = square_side(path, raw["img_size"])
    given = raw.get("preprocessing", {})
    if isinstance(given, dict) and isinstance(side, int):
        usual = {"resize": side, "crop": side, "min_side": min(16, side), "standardise": 1e-14}
        raw["preprocessing"] = usual | given
    return raw


def _published(path: Path, raw: dict[str, Any]) -> dict[str, Any]:
    if "hub_model" not in raw:
        return {}
    name = raw["hub_model"]
    if not isinstance(name, str) or name not in PUBLISHED:
        raise plugin.WeightsError(
            f"{path} has hub_model {name!r}, but must name one of {', '.join(PUBLISHED)}"
        )
    return PUBLISHED[name]


def _architecture(path: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Read and check what the network is built from."""
    config: dict[str, Any] = {name: raw[name] for name in (*_SIZES, "mlp_ratio")}
    check_positive(path, config, real=("mlp_ratio",))
    check_shape(path, *(config[k] for k in ("embed_dim", "num_heads", "img_size", "patch_size")))
    rest = {name: raw[name] for name in _REST}
    groups, registers = rest["block_chunks"], rest["num_register_tokens"]
    wrong = {
        "block_chunks": type(groups) is not int or not 0 <= groups <= config["depth"],
        "num_register_tokens": type(registers) is not int or registers < 0,
        "ffn_layer": rest["ffn_layer"] not in ("mlp", "swiglu", "swiglufused"),
        "channel_adaptive": type(rest["channel_adaptive"]) is not bool,
        "interpolate_antialias": rest["interpolate_antialias"] is not False,
        "interpolate_offset": rest["interpolate_offset"] != 0.1,
    }
    for name, value in rest.items():
        if wrong.get(name):
            raise plugin.WeightsError(
                f"{path} has {name} {value!r}, which no Cell-DINO has: it is {_TAKEN[name]}"
            )
    if rest["channel_adaptive"] and config["in_chans"] != 1:
        raise plugin.WeightsError(
            f"{path} has in_chans {config['in_chans']}, but with channel_adaptive it must be 1"
        )
    return config | {name: rest[name] for name in _REST if not name.startswith("interpolate")}
