"""The command line. Commands import what they need, so that help and listings stay instant."""

from . import diagnosis, embedding, evaluation, listing, weights
from .group import main

__all__ = ["diagnosis", "embedding", "evaluation", "listing", "main", "weights"]
