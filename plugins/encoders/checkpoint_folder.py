"""Checkpoints as a folder or a hub repository with config.json and model.safetensors."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import plugin


def open_checkpoint(scheme: str, place: str) -> tuple[Path, plugin.Weights]:
    """Find config.json and weights at a folder or at ``org/repo@commit``.

    The file must have the hash that config.json gives as ``sha256``, if it gives one.

    Raises
    ------
    WeightsError
        For a place that is neither, or a folder that lacks one of the two.
    """
    repo, at, revision = place.rpartition("@")
    if at and not Path(place).exists():
        try:
            weights = plugin.Weights(repo=repo, revision=revision)
            config = plugin.Weights(repo=repo, revision=revision, filename="config.json")
        except ValueError as error:
            raise plugin.WeightsError(f"{scheme}:{place}: {error}") from error
        return plugin.fetch(config).path, weights
    folder = Path(place).expanduser()
    if not folder.is_dir():
        hint = ""
        if place.count("/") == 1:
            hint = f"; for a hub repository pin a commit, {scheme}:{place}@<40-hex commit>"
        raise plugin.WeightsNotFoundError(f"{scheme}:{place}: there is no such folder{hint}")
    for needed in ("config.json", "model.safetensors"):
        if not (folder / needed).is_file():
            raise plugin.WeightsNotFoundError(f"{scheme}:{place}: the folder has no {needed}")
    path = folder / "config.json"
    try:
        known = read_config(path).get("sha256")
        return path, plugin.Weights(path=folder / "model.safetensors", sha256=known)
    except (TypeError, ValueError) as error:
        raise plugin.WeightsError(f"{path}: sha256 is not usable: {error}") from error


def read_config(path: Path, required: Sequence[str] = ()) -> dict[str, Any]:
    """Read a config.json; a field that decides the numbers is never guessed.

    Raises
    ------
    WeightsError
        If it is not readable, or lacks one of `required`.
    """
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise plugin.WeightsError(f"{path} is not a readable config.json: {error}") from error
    if not isinstance(raw, dict):
        raise plugin.WeightsError(f"{path} is not a readable config.json: it is no object")
    missing = [name for name in required if name not in raw]
    if missing:
        raise plugin.WeightsError(f"{path} lacks {', '.join(missing)}, which cannot be guessed")
    return raw


def read_card(path: Path, raw: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read what is said beside the architecture, as fields of an `EncoderSpec`.

    It stands in config.json, or in the fields `raw` in its place. These are ``preprocessing``
    (fields of `zoo.Preprocessing`; what is left out has its default),
    ``trained_on`` (names of datasets) and ``licence``. Raises `WeightsError` for anything else
    under these names.
    """
    raw = read_config(path) if raw is None else raw
    found: dict[str, Any] = {}
    try:
        if "preprocessing" in raw:
            given: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in raw["preprocessing"].items()
            }
            found["preprocessing"] = plugin.Preprocessing(**given)
    except (AttributeError, TypeError, ValueError) as error:
        raise plugin.WeightsError(f"{path}: preprocessing is not usable: {error}") from error
    named, licence = raw.get("trained_on", []), raw.get("licence", "not stated")
    if not isinstance(named, list) or not all(isinstance(n, str) for n in [*named, licence]):
        raise plugin.WeightsError(f"{path}: trained_on must be a list of names, licence a text")
    return {**found, "trained_on": tuple(named), "licence": licence}


def channel_names(path: Path, most: int, raw: dict[str, Any] | None = None) -> tuple[str, ...]:
    """Read the stains of the channels, in the order of their numbers, if they are given.

    They stand in config.json, or in the fields `raw` in its place.

    Raises
    ------
    WeightsError
        For names that are no texts, or more than `most`.
    """
    names = (read_config(path) if raw is None else raw).get("channel_names", [])
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise plugin.WeightsError(f"{path} has channel_names {names!r}, but must list texts")
    if len(names) > most:
        raise plugin.WeightsError(f"{path} names {len(names)} channels, but has {most}")
    return tuple(names)


def check_positive(path: Path, config: Mapping[str, Any], real: Sequence[str] = ()) -> None:
    """Raise `WeightsError` unless all values are positive: whole numbers, or `real` ones."""
    for name, value in config.items():
        kinds = (int, float) if name in real else int
        if isinstance(value, bool) or not isinstance(value, kinds) or value <= 0:
            raise plugin.WeightsError(
                f"{path} has {name} {value!r}, which is not a positive number"
            )


def check_shape(path: Path, dim: int, heads: int, side: int, patch: int) -> None:
    """Raise `WeightsError` unless heads divide the features, and patches the image."""
    if dim % heads or side % patch:
        raise plugin.WeightsError(
            f"{path}: embed_dim must be a multiple of num_heads, img_size one of patch_size"
        )


def square_side(path: Path, size: Any) -> Any:
    """Return the side of a size that is given as a number or as two equal ones.

    Raises
    ------
    WeightsError
        For a size that is not square, whose grid of positions these networks do not have.
    """
    if not isinstance(size, list):
        return size
    if not size or any(side != size[0] for side in size) or len(size) > 2:
        raise plugin.WeightsError(
            f"{path} has img_size {size}, but positions are those of a square grid: give one side"
        )
    return size[0]


def read_architecture(
    path: Path, whole: Sequence[str], defaults: Mapping[str, float]
) -> dict[str, Any]:
    """Read and check the sizes of a vision transformer.

    Parameters
    ----------
    path
        config.json.
    whole
        Fields that must be there, whole numbers.
    defaults
        Real numbers, and what they are where the file does not say.
    """
    raw = read_config(path, whole)
    config: dict[str, Any] = {name: raw[name] for name in whole}
    config["img_size"] = square_side(path, config["img_size"])
    config |= {name: raw.get(name, default) for name, default in defaults.items()}
    check_positive(path, config, real=tuple(defaults))
    check_shape(path, *(config[k] for k in ("embed_dim", "num_heads", "img_size", "patch_size")))
    return config
