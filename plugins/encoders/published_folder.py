"""Encoders published in our layout: config.json says which family reads them."""

from dataclasses import replace
from pathlib import Path

from zoo import plugin

from .checkpoint_folder import open_checkpoint, read_config

READERS = ("chadavit", "openphenom", "channelvit", "morphem", "subcell", "celldino")
"""Families that read a folder of config.json and model.safetensors."""
# Fields that only one family has, for folders that were made before model_type was written.
_MARKS = {
    "max_number_channels": "chadavit",
    "max_in_chans": "openphenom",
    "pool_model": "subcell",
    "channel_adaptive": "celldino",
}

FAMILIES = (
    plugin.EncoderFamily(
        scheme="hf",
        resolver="zoo.plugins.encoders.published_folder:resolve",
        summary="Whatever 'zoo push' published: org/repo, with @branch, tag or commit",
        examples=("hf:org/repo", "hf:org/repo@<40-hex commit>"),
    ),
)


def resolve(text: str) -> plugin.EncoderSpec:
    """Describe what is published at ``org/repo``, ``org/repo@revision``, or a local folder.

    Without a commit, that of the branch or tag, by default ``main``, is looked up once and kept.

    Raises
    ------
    WeightsError
        When there is no such repository, or its config.json is of another layout.
    """
    place = _pinned(text)
    path, _ = open_checkpoint("hf", place)
    return replace(plugin.get_spec(f"{_family(path, text)}:{place}"), name=f"hf:{text}")


def _pinned(text: str) -> str:
    if Path(text).expanduser().exists():
        return text
    repo, at, revision = text.rpartition("@")
    if not at:
        repo, revision = text, "main"
    if repo.count("/") != 1 or repo.startswith((".", "~", "/")):
        return text
    try:
        return f"{repo}@{plugin.resolve_revision(repo, revision)}"
    except ValueError as error:
        raise plugin.WeightsError(f"hf:{text}: {error}") from error


def _family(path: Path, text: str) -> str:
    raw = read_config(path)
    marked = [family for mark, family in _MARKS.items() if mark in raw]
    if raw.get("model_type") in READERS:
        return str(raw["model_type"])
    if "model_type" not in raw and len(marked) == 1:
        return marked[0]
    told = f"says model_type {raw['model_type']!r}" if "model_type" in raw else "has no model_type"
    raise plugin.WeightsError(
        f"hf:{text}: its config.json {told}, but must name the family that reads it, one of "
        f"{', '.join(READERS)}; load models of other layouts by the name of their family, such as "
        "timm:NAME"
    )
