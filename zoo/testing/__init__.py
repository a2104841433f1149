"""Conformance kit for authors of encoders: run it in your tests, as we do in ours."""

from ._kit import check_encoder, encoder_checks
from ._promise import Check

__all__ = ["Check", "check_encoder", "encoder_checks"]
