"""What names of stains mean: one table of synonyms for all encoders.

Sources: Bray et al., Cell Painting, a high-content image-based assay, Nat. Protoc. 11, 2016
(DNA, ER, RNA, AGP, Mito and their dyes); Cimini et al., Optimizing the Cell Painting assay, Nat.
Protoc. 18, 2023 (the same, revised); Thul et al., A subcellular map of the human proteome, Science
356, 2017 (nucleus, ER, microtubules and protein of the Human Protein Atlas); makers' names of dyes.
"""

import re
from functools import cache

TABLE: dict[str, tuple[str, ...]] = {
    "DNA": (
        *("nucleus", "nuclei", "nuclear", "Hoechst", "DAPI", "DRAQ5", "DRAQ7", "SYTOX", "TO-PRO-3"),
        *("SiR-DNA", "propidium iodide", "chromatin", "H2B"),
    ),
    "ER": (
        "endoplasmic reticulum",
        "concanavalin A",
        "ConA",
        "ER-Tracker",
        "calreticulin",
        "calnexin",
    ),
    "RNA": ("SYTO 14", "SYTO14", "nucleoli", "nucleolus", "cytoplasmic RNA", "SYTO RNASelect"),
    "AGP": (
        *("actin Golgi plasma membrane", "F-actin Golgi plasma membrane", "actin and Golgi"),
        *("WGA", "wheat germ agglutinin", "phalloidin"),
    ),
    "Mito": (
        *("mitochondria", "mitochondrion", "mitochondrial", "MitoTracker", "MitoTracker Deep Red"),
        *("TOMM20", "TOM20", "PhenoVue 641"),
    ),
    "actin": ("F-actin", "phalloidin", "LifeAct", "SiR-actin", "cytoskeleton actin"),
    "Golgi": ("Golgi apparatus", "WGA", "wheat germ agglutinin", "giantin", "GM130", "GOLPH4"),
    "membrane": ("plasma membrane", "cell membrane", "WGA", "wheat germ agglutinin", "CellMask"),
    "tubulin": ("microtubules", "microtubule", "alpha-tubulin", "beta-tubulin", "SiR-tubulin"),
    "protein": ("protein of interest", "target protein", "antibody of interest"),
    "lysosome": ("lysosomes", "LysoTracker", "LAMP1"),
    "brightfield": ("bright field", "BF", "transmitted light", "transmission"),
    "phase": ("phase contrast",),
    "DIC": ("differential interference contrast",),
}
"""Meaning → other names of it. A dye of several structures, such as WGA, stands at each."""
_LONGEST = 5  # words of a name


def plain(name: str) -> str:
    """Return a name without case, spaces and signs: ``"SYTO 14"`` is ``"syto14"``."""
    return re.sub(r"[\W_]+", "", name).lower()


@cache
def meanings(name: str) -> frozenset[str]:
    """Return what a stain shows, from the whole name or else from words in it.

    ``"Hoechst 33342"`` and ``"OrigDNA"`` are DNA; ``"phalloidin"`` is AGP and actin; a name without
    a known word has no meaning. ``"siRNA"`` is one word.
    """
    whole = _by_name().get(plain(name))
    if whole is not None:
        return whole
    words = re.findall(r"[a-z]+[A-Z]+(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    found: set[str] = set()
    for first in range(len(words)):
        for last in range(first + 1, min(first + _LONGEST, len(words)) + 1):
            found |= _by_name().get(plain("".join(words[first:last])), frozenset())
    return frozenset(found)


@cache
def _by_name() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for meaning, names in TABLE.items():
        for name in (meaning, *names):
            found.setdefault(plain(name), set()).add(meaning)
    return {name: frozenset(shown) for name, shown in found.items()}
