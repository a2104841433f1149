"""The folder for what zoo keeps: embeddings, datasets and environments."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$ZOO_CACHE``, or ``zoo`` in the user's cache folder.

    Examples
    --------
    >>> zoo.plugin.cache_folder().is_absolute()
    True
    """
    if os.environ.get("ZOO_CACHE"):
        return Path(os.environ["ZOO_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "zoo"
