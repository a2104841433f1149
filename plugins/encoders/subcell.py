"""Records of SubCell checkpoints: vision transformers for protein localisation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo import plugin

from .checkpoint_folder import check_positive, check_shape, open_checkpoint, read_config
from .twin_record import twin_family, twin_of

CITATION = (
    "Gupta et al., SubCell: Vision foundation models for microscopy capture single-cell biology, "
    "bioRxiv 2024, doi:10.1101/2024.12.06.627299"
)
# Fields of the two parts of config.json, and what they are called here.
_VIT = {
    "image_size": "img_size",
    "patch_size": "patch_size",
    "num_channels": "in_chans",
    "hidden_size": "embed_dim",
    "num_hidden_layers": "depth",
    "num_attention_heads": "num_heads",
    "intermediate_size": "hidden_dim",
    "layer_norm_eps": "layer_norm_eps",
}
_POOL = {"int_dim": "pool_dim", "num_heads": "pool_heads"}
# What the authors call the colours of the Human Protein Atlas, in their order.
_LETTERS = {"r": "microtubules", "y": "ER", "b": "nucleus", "g": "protein"}
_COLOURS = {"red": "microtubules", "yellow": "ER", "blue": "nucleus", "green": "protein"}
# Checkpoints of three channels lack microtubules or ER, which their config.json does not say.
_BY_COUNT = {4: "rybg", 2: "bg"}
ORDER = "channels in the order microtubules, ER, nucleus, protein, of those it was trained on"

FAMILIES = (
    plugin.EncoderFamily(
        scheme="subcell",
        resolver="zoo.plugins.encoders.subcell:resolve",
        summary="SubCell from a folder or hub repository; protein last, after its references",
        examples=("subcell:./my-checkpoint", "subcell:org/repo@<40-hex commit>"),
    ),
    twin_family("subcell"),
)


def resolve(place: str) -> plugin.EncoderSpec:
    """Describe the checkpoint at a folder or at ``org/repo@commit``."""
    path, weights = open_checkpoint("subcell", place)
    raw = read_config(path, ("vit_model", "pool_model"))
    config = _renamed(path, raw["vit_model"], _VIT) | _renamed(path, raw["pool_model"], _POOL)
    check_positive(path, config, real=("layer_norm_eps",))
    check_shape(path, *(config[k] for k in ("embed_dim", "num_heads", "img_size", "patch_size")))
    if raw["vit_model"].get("hidden_act", "gelu") != "gelu":
        raise plugin.WeightsError(
            f"{path} has hidden_act {raw['vit_model']['hidden_act']!r}, but SubCell has 'gelu'"
        )
    side, count = config["img_size"], config["in_chans"]
    slots = _slots(path, raw, count)
    return plugin.EncoderSpec(
        name=f"subcell:{place}",
        builder="zoo.plugins.encoders.subcell_encoder:build",
        summary=f"SubCell from {place}; {ORDER}",
        embedding_size=config["embed_dim"] * config["pool_heads"],
        channels=(count, count),
        slots=slots,
        stain_synonyms={k: v for k, v in {**_LETTERS, **_COLOURS}.items() if v in slots},
        weights=weights,
        twin=f"subcell-untrained:{place}",
        options=config,
        preprocessing=plugin.Preprocessing(
            scaling="image", resize=side, crop=side, min_side=min(16, side)
        ),
        citation=CITATION,
    )


def resolve_untrained(place: str) -> plugin.EncoderSpec:
    """Describe the untrained twin of the checkpoint at a folder or at ``org/repo@commit``."""
    return twin_of(resolve(place))


def _slots(path: Path, raw: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Name the channels by the letters of config.json, such as ``"rbg"``, or by their number."""
    letters = raw.get("channels", _BY_COUNT.get(count, ""))
    known = isinstance(letters, str) and letters in ("rybg", "rbg", "ybg", "bg", "")
    if not known or (letters and len(letters) != count):
        raise plugin.WeightsError(
            f"{path} has channels {letters!r}, but must name {count} of r, y, b, g in this order"
        )
    return tuple(_LETTERS[letter] for letter in letters)


def _renamed(path: Path, part: Any, names: Mapping[str, str]) -> dict[str, Any]:
    given = part if isinstance(part, dict) else {}
    missing = [name for name in names if name not in given]
    if missing:
        raise plugin.WeightsError(f"{path} lacks {', '.join(missing)}, which cannot be guessed")
    return {new: given[old] for old, new in names.items()}
