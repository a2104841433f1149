"""Diagnostics beyond the scores: one file, one question."""
