"""Colours and shapes of the points of a figure."""

# Okabe and Ito's colours, black last but one and yellow last, for it is faint on white.
PALETTE = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442"),
)

VIRIDIS = (
    *("#440154", "#482878", "#3e4a89", "#31688e", "#26828e"),
    *("#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"),
)

UNKNOWN = "#c4c9cf"

# Circle, square, two triangles, diamond, cross; around the origin and of like areas.
SHAPES = (
    "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
    "M-4.4,-4.4h8.8v8.8h-8.8z",
    "M0,-6L5.6,4.2h-11.2z",
    "M0,6L5.6,-4.2h-11.2z",
    "M0,-6.2L6.2,0L0,6.2L-6.2,0z",
    "M-1.9,-5.7h3.8v3.8h3.8v3.8h-3.8v3.8h-3.8v-3.8h-3.8v-3.8h3.8z",
)


def look(code: int) -> tuple[int, str]:
    """Shape and colour of a category: eight colours for each shape in turn."""
    if code < 0:
        return 0, UNKNOWN
    shape = (code // len(PALETTE) + code % len(PALETTE)) % len(SHAPES)
    return shape, PALETTE[code % len(PALETTE)]


def shade(share: float) -> str:
    at = min(max(share, 0), 1) * (len(VIRIDIS) - 1)
    low = min(int(at), len(VIRIDIS) - 2)
    a, b = ([int(h[k : k + 2], 16) for k in (1, 3, 5)] for h in VIRIDIS[low : low + 2])
    mixed = [round(p + (at - low) * (q - p)) for p, q in zip(a, b, strict=True)]
    return "#" + "".join(f"{v:02x}" for v in mixed)
