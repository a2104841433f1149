"""Images that are no part of an export's images, by the words in their names."""

import re
from functools import cache

_WORDS = {
    "thumbnails": r"thumb(nail)?s?",
    "masks": r"masks?|labels?|outlines?|segmentations?",
    "overlays": r"overlays?|composites?|montages?|stitched",
    "shading images": r"shading(correction)?|flat[ -]?fields?|dark[ -]?(fields?|frames?)"
    r"|illum([A-Z]\w*|ination)?|background",
}
_PATTERNS = {
    reason: re.compile(rf"(?<![A-Za-z])({words})(?![a-z])", re.IGNORECASE)
    for reason, words in _WORDS.items()
}


def reason_of(path: str) -> str | None:
    """Return why the file of a relative path is no image of an export; None if its name is none.

    Only the file's name and the folders between it and the source count.
    """
    folders, _, name = path.rpartition("/")
    return _reason(f"{folders} {name.rpartition('.')[0]}")


@cache
def reason_of_folder(folders: str) -> str | None:
    """Return why folders, with ``/``, hold no images of an export; else None."""
    return _reason(folders)


def _reason(words: str) -> str | None:
    words = words.replace("_", " ")
    return next((reason for reason, p in _PATTERNS.items() if p.search(words)), None)
