"""Encoders: ChAda-ViT, and networks of timm. An architecture is one line in each tuple."""

from collections.abc import Iterable

import zoo

from . import chadavit, timm_specs


@zoo.hookimpl
def zoo_encoders() -> Iterable[zoo.EncoderSpec]:
    """Yield the encoders with fixed names."""
    yield from chadavit.ENCODERS


@zoo.hookimpl
def zoo_encoder_families() -> Iterable[zoo.EncoderFamily]:
    """Yield the families behind a scheme, without importing their libraries."""
    yield from chadavit.FAMILIES
    yield from timm_specs.FAMILIES
