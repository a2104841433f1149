"""Names that look like one file for each channel, though no format knows them."""

import re
from collections import defaultdict

# What numbers channels, and what names them.
_NUMBERED = r"(?:w|wv|c|ch|chan|channel|wavelength)[ _-]?\d{1,2}"
_AFTER_NUMBER = r"(?<=\d)d\d(?!\d)"
_NAMED = (
    r"dapi|hoechst(?:[ _-]?\d+)?|dna|gfp|yfp|cfp|rfp|mcherry|fitc|tritc|texas[ _-]?red|cy[357]"
    r"|alexa[ _-]?(?:fluor[ _-]?)?\d{3}|draq[57]|mito(?:tracker)?|actin|phalloidin|tubulin|agp|rna"
    r"|er|syto(?:[ _-]?\d+)?|bf|brightfield|phase|dic"
)
_CHANNEL = re.compile(
    rf"(?<![A-Za-z0-9])(?:{_NUMBERED}|{_NAMED})(?![A-Za-z0-9])|{_AFTER_NUMBER}", re.IGNORECASE
)


def is_stain(text: str) -> bool:
    """Whether a text is the usual name of a stain or a dye."""
    return re.fullmatch(_NAMED, text, re.IGNORECASE) is not None


def looks_split(paths: list[str]) -> list[str]:
    """Return the files of one image if most names differ from another in a channel only.

    Parameters
    ----------
    paths
        Relative paths with ``/``.
    """
    families: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for path in paths:
        folder, _, name = path.rpartition("/")
        stem = name.rpartition(".")[0].removesuffix(".ome")
        found = _CHANNEL.search(stem)
        if found:
            rest = stem[: found.start()] + "*" + stem[found.end() :]
            families[folder, rest].setdefault(found[0].casefold(), path)
    split = [f for f in families.items() if len(f[1]) > 1]
    # Names that are nothing but channels tell no images apart, unless the folders do.
    if len({folder for (folder, _), _ in split}) < 2:
        split = [f for f in split if re.search(r"[A-Za-z0-9]", f[0][1].replace("*", ""))]
    if 2 * sum(len(members) for _, members in split) <= len(paths):
        return []
    return list(split[0][1].values())
