"""Embeddings: made, cached, read and written."""
