"""Names of the numbers that controls give, and the settings that decide how many there are.

What fills the columns takes the settings from here, so that names and numbers cannot drift apart.
This file imports nothing: names are shown where controls are only listed.
"""

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)  # of the pixels of a channel
SPREAD_PERCENTILES = (5, 25, 50, 75, 95)  # of the sizes and distances of objects
RIPLEY_RADII = (0.025, 0.05, 0.1, 0.2)  # in sides of the image
NEIGHBOUR_RADII = (0.05, 0.1, 0.2)  # in sides of the image
TYPES = 4  # of objects, at the most

DISTANCES = (1, 4)  # between the two pixels of a pair in a co-occurrence matrix, in pixels
CIRCLES = ((8, 1), (8, 3))  # points and radius, in pixels, of local binary patterns
RADII = (1, 2, 3, 5, 8, 12)  # of the openings of granularity, at half the resolution
BINS = 12  # of the power spectrum, two to an octave down from half a cycle a pixel


def _spread(what: str) -> tuple[str, ...]:
    return (f"{what}, mean", f"{what}, sd", *(f"{what}, {p} %" for p in SPREAD_PERCENTILES))


PIXEL_STATISTICS = (
    "mean",
    "sd",
    *(f"{p} %" for p in PERCENTILES),
    "saturated share",
    "correlation",
)
DENSITY = (
    "count",
    "area share",
    *_spread("area"),
    *_spread("nearest distance"),
    *(f"L({r}) - r" for r in RIPLEY_RADII),
)
STRUCTURE = (
    "count",
    *_spread("degree"),
    *_spread("edge length"),
    *_spread("triangle area"),
    "clustering, mean",
    "clustering, sd",
    *_spread("cell area"),
    *(f"neighbours within {r}, {what}" for r in NEIGHBOUR_RADII for what in ("mean", "sd")),
    "share on the hull",
    "hull area",
)
NEIGHBOURHOOD = (
    *(f"share of type {k}" for k in range(TYPES)),
    *(f"edges {a}-{b} beyond chance" for a in range(TYPES) for b in range(a, TYPES)),
    "entropy of neighbours",
    "nearest is alike",
)
HARALICK = (
    "angular second moment",
    "contrast",
    "correlation",
    "variance",
    "inverse difference moment",
    "sum average",
    "sum variance",
    "sum entropy",
    "entropy",
    "difference variance",
    "difference entropy",
    "information measure 1",
    "information measure 2",
)
TEXTURE = (
    *(f"{name}, distance {d}" for d in DISTANCES for name in HARALICK),
    *(f"pattern {k}, radius {r}" for n, r in CIRCLES for k in (*range(n + 1), "other")),
    *(f"granules up to {r}" for r in RADII),
    *(f"power up to {0.5 / 2 ** (k / 2):.4f} / pixel" for k in reversed(range(BINS))),
)
