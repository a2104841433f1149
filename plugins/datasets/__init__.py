"""Datasets that others publish, each with the record beside its reader."""
