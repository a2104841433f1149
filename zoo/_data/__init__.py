"""Datasets, tables of images, and what is asked of them."""
