"""Encoders: ChAda-ViT, encoders of others, and networks of timm."""

from collections.abc import Iterable

from zoo import plugin

from . import (
    celldino,
    chadavit,
    channelvit,
    morphem,
    openphenom,
    pathology,
    published_folder,
    subcell,
    timm_specs,
)


@plugin.hookimpl
def zoo_encoders() -> Iterable[plugin.EncoderSpec]:
    """Yield the encoders with fixed names."""
    yield from chadavit.ENCODERS
    yield from openphenom.ENCODERS
    yield from pathology.ENCODERS


@plugin.hookimpl
def zoo_encoder_families() -> Iterable[plugin.EncoderFamily]:
    """Yield the families behind a scheme, without importing their libraries."""
    yield from chadavit.FAMILIES
    yield from openphenom.FAMILIES
    yield from channelvit.FAMILIES
    yield from morphem.FAMILIES
    yield from subcell.FAMILIES
    yield from celldino.FAMILIES
    yield from pathology.FAMILIES
    yield from published_folder.FAMILIES
    yield from timm_specs.FAMILIES
