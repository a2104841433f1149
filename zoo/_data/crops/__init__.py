"""Crops of images: single objects, or tiles."""
