"""Scores beside chance and controls, with intervals and verdicts."""
