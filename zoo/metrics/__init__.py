"""Metrics of embeddings: arrays in, numbers out."""
