"""Compute, cache, read and write embeddings."""
