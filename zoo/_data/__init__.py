"""Datasets, tables of images, and evaluation designs."""
