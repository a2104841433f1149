"""Exports of plate microscopes: one file for each channel, grouped to images."""
